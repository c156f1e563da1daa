namespace PyramidFlow.Torch;

/// <content>Products, normalisations, resizing and decompositions.</content>
public sealed partial class Tensor
{
    /// <summary>Matrix product with broadcasting.</summary>
    public Tensor Matmul(Tensor other) => Call("aten::matmul", this, other);

    /// <summary>Batched matrix product [b, n, k] x [b, k, m].</summary>
    public Tensor Bmm(Tensor other) => Call("aten::bmm", this, other);

    /// <summary>beta * this + alpha * a x b, batched.</summary>
    public Tensor Baddbmm(Tensor a, Tensor b, double beta = 1, double alpha = 1) =>
        Call("aten::baddbmm", this, a, b, beta, alpha);

    /// <summary>Whether this libtorch has a fused <see cref="ScaledDotProductAttention"/> (2.0 and later).</summary>
    public static bool HasScaledDotProductAttention => Operator.Exists("aten::scaled_dot_product_attention");

    /// <summary>softmax(q k^T / sqrt(d) + bias) v; q [b, h, n, d], k and v [b, h, m, d].</summary>
    public Tensor ScaledDotProductAttention(Tensor k, Tensor v, Tensor? bias = null) =>
        Call("aten::scaled_dot_product_attention", this, k, v, bias);

    /// <summary>x W^T + b; weight is [out, in].</summary>
    public Tensor Linear(Tensor weight, Tensor? bias) => Call("aten::linear", this, weight, bias);

    /// <summary>Normalises over the last dimension.</summary>
    public Tensor LayerNorm(long[] shape, Tensor? weight = null, Tensor? bias = null, double eps = 1e-5) =>
        Call("aten::layer_norm", this, shape, weight, bias, eps);

    /// <summary>Whether this libtorch has <see cref="RmsNorm"/> (2.4 and later).</summary>
    public static bool HasRmsNorm => Operator.Exists("aten::rms_norm");

    /// <summary>Divides the last dimensions by their root mean square and scales them.</summary>
    public Tensor RmsNorm(long[] shape, Tensor weight, double eps) => Call("aten::rms_norm", this, shape, weight, eps);

    /// <summary>Normalises over groups of channels (dimension 1).</summary>
    public Tensor GroupNorm(long groups, Tensor? weight = null, Tensor? bias = null, double eps = 1e-5) =>
        Call("aten::group_norm", this, groups, weight, bias, eps);

    /// <summary>Looks up rows of this table by an int64 tensor.</summary>
    public Tensor Embedding(Tensor index) => Call("aten::embedding", this, index);

    /// <summary>Bilinear resize of [b, c, h, w], corners not aligned.</summary>
    public Tensor InterpolateBilinear(long height, long width) =>
        Call("aten::upsample_bilinear2d", this, new[] { height, width }, false);

    /// <summary>Nearest-neighbour resize of [b, c, h, w].</summary>
    public Tensor InterpolateNearest(long height, long width) =>
        Call("aten::upsample_nearest2d", this, new[] { height, width });

    /// <summary>Linear resize of [b, c, n], corners not aligned.</summary>
    public Tensor InterpolateLinear(long length) => Call("aten::upsample_linear1d", this, new[] { length }, false);

    /// <summary>Average pooling of [b, c, h, w].</summary>
    public Tensor AvgPool2d(long kernel, long stride) =>
        Call("aten::avg_pool2d", this, new[] { kernel, kernel }, new[] { stride, stride });

    /// <summary>Max pooling of [b, c, h, w].</summary>
    public Tensor MaxPool2d(long kernel, long stride) =>
        Call("aten::max_pool2d", this, new[] { kernel, kernel }, new[] { stride, stride });

    /// <summary>Cholesky factor: the lower triangular L of a positive definite matrix L L^T.</summary>
    public Tensor Cholesky() => Call("aten::linalg_cholesky", this, false);

    /// <summary>Inverse of a square matrix.</summary>
    public Tensor Inverse() => Call("aten::linalg_inv", this);

    /// <summary>Eigenvalues, ascending, and eigenvectors (columns) of a symmetric matrix [n, n].</summary>
    public (Tensor Values, Tensor Vectors) Eigh()
    {
        var both = CallMany("aten::linalg_eigh", this, "L");
        return (both[0], both[1]);
    }
}

/// <content>Reductions.</content>
public sealed partial class Tensor
{
    /// <summary>Sum of all elements.</summary>
    public Tensor Sum() => Call("aten::sum", this);

    /// <summary>Sum over dimensions.</summary>
    public Tensor Sum(long[] dims, bool keepDim = false) => Call("aten::sum.dim_IntList", this, dims, keepDim);

    /// <summary>Mean of all elements.</summary>
    public Tensor Mean() => Call("aten::mean", this);

    /// <summary>Mean over dimensions.</summary>
    public Tensor Mean(long[] dims, bool keepDim = false) => Call("aten::mean.dim", this, dims, keepDim);

    /// <summary>Variance over dimensions, with divisor n - correction.</summary>
    public Tensor Var(long[] dims, bool keepDim = false, long correction = 1) =>
        Call("aten::var.correction", this, dims, correction, keepDim);

    /// <summary>Maximum of all elements.</summary>
    public Tensor Max() => Call("aten::max", this);

    /// <summary>Minimum of all elements.</summary>
    public Tensor Min() => Call("aten::min", this);

    /// <summary>Maximum over dimensions.</summary>
    public Tensor Amax(long[] dims, bool keepDim = false) => Call("aten::amax", this, dims, keepDim);

    /// <summary>Index of the maximum along a dimension.</summary>
    public Tensor Argmax(int dim, bool keepDim = false) => Call("aten::argmax", this, dim, keepDim);

    /// <summary>Cumulative sum along a dimension.</summary>
    public Tensor Cumsum(int dim) => Call("aten::cumsum", this, dim);

    /// <summary>Euclidean norm of all elements.</summary>
    public Tensor Norm() => Call("aten::norm.Scalar", this, 2.0);

    /// <summary>Softmax along a dimension.</summary>
    public Tensor Softmax(int dim) => Call("aten::softmax.int", this, dim);

    /// <summary>Logarithm of the softmax along a dimension.</summary>
    public Tensor LogSoftmax(int dim) => Call("aten::log_softmax.int", this, dim);

    /// <summary>Whether all elements are true.</summary>
    public Tensor All() => Call("aten::all", this);

    /// <summary>Whether every element is finite. Waits for the device; takes almost no memory.</summary>
    public bool AllFinite()
    {
        using var scope = new TensorScope();
        // Any non-finite element makes the sum non-finite. Large elements can overflow it as well and are then checked one by one.
        return double.IsFinite(FiniteSum().Item()) || IsFinite().All().Item() != 0;
    }

    /// <summary>A sum that is non-finite if any element is, and rarely otherwise: a check that does not wait for the device.</summary>
    public Tensor FiniteSum() => Type == ElementType.Float16 ? Call("aten::sum", this, ElementType.Float32) : Sum();
}
