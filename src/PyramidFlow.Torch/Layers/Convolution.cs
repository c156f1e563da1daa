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
    /// <param name="kernel">Its sizes, two or three.</param>
    /// <param name="stride">Steps, as many.</param>
    /// <param name="padding">Zeros on each side, as many.</param>
    /// <param name="initializer">How training starts the weight; the bias starts at zero.</param>
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
