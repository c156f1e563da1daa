namespace PyramidFlow.Torch;

/// <content>Products, normalisations and resizing.</content>
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
    public static bool HasScaledDotProductAttention => Interop.Operator.Exists("aten::scaled_dot_product_attention");

    /// <summary>softmax(q k^T / sqrt(d) + bias) v; q [b, h, n, d], k and v [b, h, m, d].</summary>
    public Tensor ScaledDotProductAttention(Tensor k, Tensor v, Tensor? bias = null) =>
        Call("aten::scaled_dot_product_attention", this, k, v, bias);

    /// <summary>x W^T + b; weight is [out, in].</summary>
    public Tensor Linear(Tensor weight, Tensor? bias) => Call("aten::linear", this, weight, bias);

    /// <summary>Normalises over the last dimension.</summary>
    public Tensor LayerNorm(long[] shape, Tensor? weight = null, Tensor? bias = null, double eps = 1e-5) =>
        Call("aten::layer_norm", this, shape, weight, bias, eps);

    /// <summary>Whether this libtorch has <see cref="RmsNorm"/> (2.4 and later).</summary>
    public static bool HasRmsNorm => Interop.Operator.Exists("aten::rms_norm");

    /// <summary>Divides the last dimensions by their root mean square and scales them.</summary>
    public Tensor RmsNorm(long[] shape, Tensor weight, double eps) => Call("aten::rms_norm", this, shape, weight, eps);

    /// <summary>Normalises over groups of channels (dimension 1).</summary>
    public Tensor GroupNorm(long groups, Tensor? weight = null, Tensor? bias = null, double eps = 1e-5) =>
        Call("aten::group_norm", this, groups, weight, bias, eps);

    /// <summary>Rows of this table named by an int64 tensor.</summary>
    public Tensor Embedding(Tensor index) => Call("aten::embedding", this, index);

    /// <summary>Bilinear resize of [b, c, h, w], corners not aligned.</summary>
    public Tensor InterpolateBilinear(long height, long width) =>
        Call("aten::upsample_bilinear2d", this, new[] { height, width }, false);

    /// <summary>Nearest-neighbour resize of [b, c, h, w].</summary>
    public Tensor InterpolateNearest(long height, long width) =>
        Call("aten::upsample_nearest2d", this, new[] { height, width });

    /// <summary>Linear resize of [b, c, n], corners not aligned.</summary>
    public Tensor InterpolateLinear(long length) => Call("aten::upsample_linear1d", this, new[] { length }, false);

    /// <summary>Mean over windows of [b, c, h, w].</summary>
    public Tensor AvgPool2d(long kernel, long stride) =>
        Call("aten::avg_pool2d", this, new[] { kernel, kernel }, new[] { stride, stride });

    /// <summary>Largest over windows of [b, c, h, w].</summary>
    public Tensor MaxPool2d(long kernel, long stride) =>
        Call("aten::max_pool2d", this, new[] { kernel, kernel }, new[] { stride, stride });

    /// <summary>Lower triangle L of a positive definite matrix L L^T.</summary>
    public Tensor Cholesky() => Call("aten::linalg_cholesky", this, false);

    /// <summary>Inverse of a square matrix.</summary>
    public Tensor Inverse() => Call("aten::linalg_inv", this);

    /// <summary>Eigenvalues, rising, and eigenvectors (columns) of a symmetric matrix [n, n].</summary>
    public (Tensor Values, Tensor Vectors) Eigh()
    {
        var both = CallMany("aten::linalg_eigh", this, "L");
        return (both[0], both[1]);
    }
}
