namespace PyramidFlow.Torch;

/// <content>Operators that reduce dimensions.</content>
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

    /// <summary>Variance over dimensions, divided by n - correction.</summary>
    public Tensor Var(long[] dims, bool keepDim = false, long correction = 1) =>
        Call("aten::var.correction", this, dims, correction, keepDim);

    /// <summary>Largest element.</summary>
    public Tensor Max() => Call("aten::max", this);

    /// <summary>Smallest element.</summary>
    public Tensor Min() => Call("aten::min", this);

    /// <summary>Largest elements over dimensions.</summary>
    public Tensor Amax(long[] dims, bool keepDim = false) => Call("aten::amax", this, dims, keepDim);

    /// <summary>Index of the largest element along a dimension.</summary>
    public Tensor Argmax(int dim, bool keepDim = false) => Call("aten::argmax", this, dim, keepDim);

    /// <summary>Running sum along a dimension.</summary>
    public Tensor Cumsum(int dim) => Call("aten::cumsum", this, dim);

    /// <summary>Euclidean norm of all elements.</summary>
    public Tensor Norm() => Call("aten::norm.Scalar", this, 2.0);

    /// <summary>Softmax along a dimension.</summary>
    public Tensor Softmax(int dim) => Call("aten::softmax.int", this, dim);

    /// <summary>Logarithm of the softmax along a dimension.</summary>
    public Tensor LogSoftmax(int dim) => Call("aten::log_softmax.int", this, dim);

    /// <summary>True when all elements are true.</summary>
    public Tensor All() => Call("aten::all", this);

    /// <summary>Whether no element is infinite or not a number; waits for the device. Takes hardly any memory.</summary>
    public bool AllFinite()
    {
        using var scope = new TensorScope();
        // One number that is not finite makes the sum such a one; large numbers may do so too, and are then looked at one by one.
        return double.IsFinite(FiniteSum().Item()) || IsFinite().All().Item() != 0;
    }

    /// <summary>A sum that is not finite where an element is not, and hardly ever else: to be looked at later, without waiting for the device now.</summary>
    public Tensor FiniteSum() => Type == ElementType.Float16 ? Call("aten::sum", this, ElementType.Float32) : Sum();
}
