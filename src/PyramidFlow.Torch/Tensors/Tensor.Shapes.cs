namespace PyramidFlow.Torch;

/// <content>Operators that look at the elements another way.</content>
public sealed partial class Tensor
{
    /// <summary>Same elements, another shape; one size may be -1.</summary>
    public Tensor Reshape(params long[] shape) => Call("aten::reshape", this, shape);

    /// <summary>Same memory, another shape; one size may be -1.</summary>
    public Tensor View(params long[] shape) => Call("aten::view", this, shape);

    /// <summary>Dimensions in another order, same memory.</summary>
    public Tensor Permute(params long[] dims) => Call("aten::permute", this, dims);

    /// <summary>Two dimensions swapped, same memory.</summary>
    public Tensor Transpose(int a, int b) => Call("aten::transpose.int", this, a, b);

    /// <summary>A new dimension of size 1.</summary>
    public Tensor Unsqueeze(int dim) => Call("aten::unsqueeze", this, dim);

    /// <summary>Drops a dimension of size 1.</summary>
    public Tensor Squeeze(int dim) => Call("aten::squeeze.dim", this, dim);

    /// <summary>Merges dimensions start..end into one.</summary>
    public Tensor Flatten(int start, int end = -1) => Call("aten::flatten.using_ints", this, start, end);

    /// <summary>Splits one dimension into several.</summary>
    public Tensor Unflatten(int dim, params long[] sizes) => UnflattenTo(dim, sizes);

    /// <summary>Part of a dimension, same memory.</summary>
    public Tensor Narrow(int dim, long start, long length) => Call("aten::narrow", this, dim, start, length);

    /// <summary>One index of a dimension, which goes away; same memory.</summary>
    public Tensor Select(int dim, long index) => Call("aten::select.int", this, dim, index);

    /// <summary>Part of a dimension with a step, same memory.</summary>
    public Tensor Slice(int dim, long start, long end, long step = 1) =>
        Call("aten::slice.Tensor", this, dim, start, end, step);

    /// <summary>Any view of the same memory, by sizes and steps in elements.</summary>
    public Tensor AsStrided(long[] shape, long[] strides, long offset = 0) =>
        Call("aten::as_strided", this, shape, strides, offset);

    /// <summary>Broadcast to a shape without copying; -1 keeps a size.</summary>
    public Tensor Expand(params long[] shape) => Call("aten::expand", this, shape);

    /// <summary>Tiles the tensor.</summary>
    public Tensor Repeat(params long[] times) => Call("aten::repeat", this, times);

    /// <summary>Each element of a dimension repeated in place.</summary>
    public Tensor RepeatInterleave(long times, int dim) => Call("aten::repeat_interleave.self_int", this, times, dim);

    /// <summary>Dimension in reverse order.</summary>
    public Tensor Flip(params long[] dims) => Call("aten::flip", this, dims);

    /// <summary>Rows named by an int64 tensor.</summary>
    public Tensor IndexSelect(int dim, Tensor index) => Call("aten::index_select", this, dim, index);

    /// <summary>Elements named along a dimension by an int64 tensor.</summary>
    public Tensor Gather(int dim, Tensor index) => Call("aten::gather", this, dim, index);

    /// <summary>Float pairs as complex numbers: [..., 2] to [...], same memory.</summary>
    public Tensor ViewAsComplex() => Call("aten::view_as_complex", this);

    /// <summary>Complex numbers as float pairs: [...] to [..., 2], same memory.</summary>
    public Tensor ViewAsReal() => Call("aten::view_as_real", this);

    /// <summary>Zeros (or a value) around the last dimensions; pairs from the last one inward.</summary>
    public Tensor Pad(long[] pads, double value = 0) => Call("aten::constant_pad_nd", this, pads, value);

    /// <summary>Lower triangle of the last two dimensions.</summary>
    public Tensor Tril(long diagonal = 0) => Call("aten::tril", this, diagonal);

    /// <summary>Row-major copy, or itself when it already is.</summary>
    public Tensor Contiguous() => Call("aten::contiguous", this);

    /// <summary>A copy.</summary>
    public Tensor Clone() => Call("aten::clone", this);

    /// <summary>The same memory without autograd history: gradients stop here.</summary>
    public Tensor Detach() => Call("aten::detach", this);

    /// <summary>Another element type; itself when it already is.</summary>
    public Tensor To(ElementType type) => Call("aten::to.dtype", this, type);

    /// <summary>The same memory read as another element type; the last dimension grows or shrinks with its size.</summary>
    public Tensor ViewAs(ElementType type) => Call("aten::view.dtype", this, type);

    /// <summary>Another device; itself when it is already there.</summary>
    public Tensor To(Device device) => Call("aten::to.device", this, device, Type);

    /// <summary>Uninitialised tensor of the same shape and type.</summary>
    public Tensor EmptyLike() => Call("aten::empty_like", this);

    /// <summary>Zeros of the same shape and type.</summary>
    public Tensor ZerosLike() => Call("aten::zeros_like", this);

    /// <summary>Parts of given sizes along a dimension, same memory.</summary>
    public Tensor[] Split(long[] sizes, int dim) => CallMany("aten::split_with_sizes", this, sizes, dim);

    /// <summary>Equal parts along a dimension, same memory.</summary>
    public Tensor[] Chunk(long count, int dim) => CallMany("aten::chunk", this, count, dim);

    /// <summary>One tensor for each index of a dimension, same memory.</summary>
    public Tensor[] Unbind(int dim) => CallMany("aten::unbind.int", this, dim);

    private Tensor UnflattenTo(int dim, long[] sizes)
    {
        var shape = Shape;
        var at = dim < 0 ? dim + shape.Length : dim;
        return Reshape([.. shape[..at], .. sizes, .. shape[(at + 1)..]]);
    }
}
