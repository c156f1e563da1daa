namespace PyramidFlow.Torch;

/// <content>Views, copies and conversions.</content>
public sealed partial class Tensor
{
    /// <summary>Same elements, another shape; one size may be -1.</summary>
    public Tensor Reshape(params long[] shape) => Call("aten::reshape", this, shape);

    /// <summary>Same memory, another shape; one size may be -1.</summary>
    public Tensor View(params long[] shape) => Call("aten::view", this, shape);

    /// <summary>Reorders the dimensions, same memory.</summary>
    public Tensor Permute(params long[] dims) => Call("aten::permute", this, dims);

    /// <summary>Swaps two dimensions, same memory.</summary>
    public Tensor Transpose(int a, int b) => Call("aten::transpose.int", this, a, b);

    /// <summary>Inserts a dimension of size 1.</summary>
    public Tensor Unsqueeze(int dim) => Call("aten::unsqueeze", this, dim);

    /// <summary>Removes a dimension of size 1.</summary>
    public Tensor Squeeze(int dim) => Call("aten::squeeze.dim", this, dim);

    /// <summary>Merges dimensions start..end into one.</summary>
    public Tensor Flatten(int start, int end = -1) => Call("aten::flatten.using_ints", this, start, end);

    /// <summary>Splits one dimension into several.</summary>
    public Tensor Unflatten(int dim, params long[] sizes) => UnflattenTo(dim, sizes);

    /// <summary>Part of a dimension, same memory.</summary>
    public Tensor Narrow(int dim, long start, long length) => Call("aten::narrow", this, dim, start, length);

    /// <summary>One index of a dimension, which is removed; same memory.</summary>
    public Tensor Select(int dim, long index) => Call("aten::select.int", this, dim, index);

    /// <summary>Part of a dimension with a step, same memory.</summary>
    public Tensor Slice(int dim, long start, long end, long step = 1) =>
        Call("aten::slice.Tensor", this, dim, start, end, step);

    /// <summary>A view of the same memory with any sizes and strides, in elements.</summary>
    public Tensor AsStrided(long[] shape, long[] strides, long offset = 0) =>
        Call("aten::as_strided", this, shape, strides, offset);

    /// <summary>Broadcast to a shape without copying; -1 keeps a size.</summary>
    public Tensor Expand(params long[] shape) => Call("aten::expand", this, shape);

    /// <summary>Repeats the tensor along each dimension.</summary>
    public Tensor Repeat(params long[] times) => Call("aten::repeat", this, times);

    /// <summary>Repeats each element of a dimension next to itself.</summary>
    public Tensor RepeatInterleave(long times, int dim) => Call("aten::repeat_interleave.self_int", this, times, dim);

    /// <summary>Reverses dimensions.</summary>
    public Tensor Flip(params long[] dims) => Call("aten::flip", this, dims);

    /// <summary>Selects indices of a dimension by an int64 tensor.</summary>
    public Tensor IndexSelect(int dim, Tensor index) => Call("aten::index_select", this, dim, index);

    /// <summary>Selects elements along a dimension by an int64 tensor of indices.</summary>
    public Tensor Gather(int dim, Tensor index) => Call("aten::gather", this, dim, index);

    /// <summary>Float pairs as complex numbers: [..., 2] to [...], same memory.</summary>
    public Tensor ViewAsComplex() => Call("aten::view_as_complex", this);

    /// <summary>Complex numbers as float pairs: [...] to [..., 2], same memory.</summary>
    public Tensor ViewAsReal() => Call("aten::view_as_real", this);

    /// <summary>Pads with a value; pairs (before, after) from the last dimension on.</summary>
    public Tensor Pad(long[] pads, double value = 0) => Call("aten::constant_pad_nd", this, pads, value);

    /// <summary>Lower triangle of the last two dimensions.</summary>
    public Tensor Tril(long diagonal = 0) => Call("aten::tril", this, diagonal);

    /// <summary>A row-major copy, or the tensor itself if it is contiguous.</summary>
    public Tensor Contiguous() => Call("aten::contiguous", this);

    /// <summary>A copy.</summary>
    public Tensor Clone() => Call("aten::clone", this);

    /// <summary>The same memory without autograd history: gradients stop here.</summary>
    public Tensor Detach() => Call("aten::detach", this);

    /// <summary>Converts to an element type; the tensor itself if it has that type.</summary>
    public Tensor To(ElementType type) => Call("aten::to.dtype", this, type);

    /// <summary>Reinterprets the memory as another element type; the last dimension scales with the size of the type.</summary>
    public Tensor ViewAs(ElementType type) => Call("aten::view.dtype", this, type);

    /// <summary>Copies to a device; the tensor itself if it is there.</summary>
    public Tensor To(Device device) => Call("aten::to.device", this, device, Type);

    /// <summary>Uninitialised tensor of the same shape and type.</summary>
    public Tensor EmptyLike() => Call("aten::empty_like", this);

    /// <summary>Zeros of the same shape and type.</summary>
    public Tensor ZerosLike() => Call("aten::zeros_like", this);

    /// <summary>Splits a dimension into parts of given sizes, same memory.</summary>
    public Tensor[] Split(long[] sizes, int dim) => CallMany("aten::split_with_sizes", this, sizes, dim);

    /// <summary>Splits a dimension into equal parts, same memory.</summary>
    public Tensor[] Chunk(long count, int dim) => CallMany("aten::chunk", this, count, dim);

    /// <summary>Splits a dimension into one tensor for each index, same memory.</summary>
    public Tensor[] Unbind(int dim) => CallMany("aten::unbind.int", this, dim);

    private Tensor UnflattenTo(int dim, long[] sizes)
    {
        var shape = Shape;
        var at = dim < 0 ? dim + shape.Length : dim;
        // libtorch cannot infer a size of a tensor without elements.
        var known = sizes.Where(size => size >= 0).Aggregate(1L, (product, size) => product * size);
        return Reshape([.. shape[..at], .. sizes.Select(size => size < 0 && known > 0 ? shape[at] / known : size), .. shape[(at + 1)..]]);
    }
}
