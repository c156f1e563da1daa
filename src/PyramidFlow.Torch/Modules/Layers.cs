namespace PyramidFlow.Torch;

/// <summary>Convolution over two or three dimensions, with a bias.</summary>
public sealed class Convolution : Module
{
    private readonly Parameter weight;
    private readonly Parameter bias;
    private readonly long[] stride;
    private readonly long[] padding;

    /// <summary>Declares the layer.</summary>
    /// <param name="inputs">Channels in.</param>
    /// <param name="outputs">Channels out.</param>
    /// <param name="kernel">Kernel sizes, two or three.</param>
    /// <param name="stride">Strides, one for each kernel size.</param>
    /// <param name="padding">Zero padding on each side, one for each kernel size.</param>
    /// <param name="initializer">Initialiser of the weight; the bias starts at zero.</param>
    public Convolution(long inputs, long outputs, long[] kernel, long[] stride, long[] padding, Initializer initializer)
    {
        if (kernel.Length is not (2 or 3) || stride.Length != kernel.Length || padding.Length != kernel.Length)
            throw new ArgumentException($"a kernel of {kernel.Length} sizes with {stride.Length} steps and {padding.Length} paddings: give two or three of each");
        weight = new Parameter([outputs, inputs, .. kernel], initializer);
        bias = new Parameter([outputs], Initializers.Zeros);
        (this.stride, this.padding) = (stride, padding);
    }

    /// <summary>[b, in, ...] to [b, out, ...].</summary>
    public Tensor Forward(Tensor x) => stride.Length == 2
        ? x.Conv2d(weight, bias.Value, stride, padding)
        : x.Conv3d(weight, bias.Value, stride, padding);
}

/// <summary>A table of vectors, [rows, dim], looked up by index.</summary>
public sealed class Embedding : Module
{
    private readonly Parameter weight;

    /// <summary>Declares the table; its initial values are normal with this standard deviation.</summary>
    public Embedding(long rows, long dim, double std = 1) => weight = new Parameter([rows, dim], Initializers.Normal(std));

    /// <summary>The table, [rows, dim].</summary>
    public Parameter Weight => weight;

    /// <summary>Looks up rows by an int64 tensor: [...] to [..., dim].</summary>
    public Tensor Forward(Tensor index) => weight.Value.Embedding(index);
}

/// <summary>Normalises groups of channels over all positions, then scales and shifts each channel.</summary>
public sealed class GroupNorm : Module
{
    private readonly Parameter weight;
    private readonly Parameter bias;
    private readonly long groups;
    private readonly double eps;

    /// <summary>Declares the layer.</summary>
    public GroupNorm(long groups, long channels, double eps = 1e-6)
    {
        if (channels % groups != 0)
            throw new ArgumentException($"{channels} channels do not divide into {groups} groups");
        weight = new Parameter([channels], Initializers.Ones);
        bias = new Parameter([channels], Initializers.Zeros);
        this.groups = groups;
        this.eps = eps;
    }

    /// <summary>Scale, [channels].</summary>
    public Parameter Weight => weight;

    /// <summary>Shift, [channels].</summary>
    public Parameter Bias => bias;

    /// <summary>[b, c, ...] to the same.</summary>
    public Tensor Forward(Tensor x) => x.GroupNorm(groups, weight, bias, eps);
}

/// <summary>Normalises the last dimension to mean 0 and variance 1, then scales and shifts if it has weights.</summary>
public sealed class LayerNorm : Module
{
    private readonly Parameter? weight;
    private readonly Parameter? bias;
    private readonly long[] shape;
    private readonly double eps;

    /// <summary>Declares the layer.</summary>
    public LayerNorm(long dim, bool affine = true, double eps = 1e-5)
    {
        weight = affine ? new Parameter([dim], Initializers.Ones) : null;
        bias = affine ? new Parameter([dim], Initializers.Zeros) : null;
        shape = [dim];
        this.eps = eps;
    }

    /// <summary>[..., dim] to [..., dim].</summary>
    public Tensor Forward(Tensor x) => x.LayerNorm(shape, weight?.Value, bias?.Value, eps);
}

/// <summary>Divides the last dimension by its root mean square, computed in float32, and scales it.</summary>
public sealed class RmsNorm : Module
{
    private readonly Parameter weight;
    private readonly double eps;

    /// <summary>Declares the layer.</summary>
    public RmsNorm(long dim, double eps = 1e-6)
    {
        weight = new Parameter([dim], Initializers.Ones);
        this.eps = eps;
    }

    /// <summary>[..., dim] to [..., dim], of the input's element type.</summary>
    public Tensor Forward(Tensor x) => x.Device.Type == DeviceType.Cuda && Tensor.HasRmsNorm
        ? x.RmsNorm([x.Size(-1)], weight, eps)
        : Fused.RmsNorm(x, weight, eps);
}
