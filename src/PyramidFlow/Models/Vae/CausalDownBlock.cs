using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>A level of the encoder: residual blocks, then halving in space, then in time.</summary>
public sealed class CausalDownBlock : Module
{
    private readonly CausalResnetBlock[] resnets;
    private readonly CausalDownsample[] downsamplers;
    private readonly CausalTemporalDownsample[] temporalDownsamplers;

    /// <summary>Declares the level.</summary>
    /// <param name="inputs">Channels in.</param>
    /// <param name="outputs">Channels out.</param>
    /// <param name="layers">Number of residual blocks.</param>
    /// <param name="settings">What they share.</param>
    /// <param name="spatial">Whether it halves height and width.</param>
    /// <param name="temporal">Whether it halves the frames.</param>
    public CausalDownBlock(long inputs, long outputs, int layers, ResnetSettings settings, bool spatial, bool temporal)
    {
        resnets = [.. Enumerable.Range(0, layers).Select(i => new CausalResnetBlock(i == 0 ? inputs : outputs, outputs, settings))];
        downsamplers = spatial ? [new CausalDownsample(outputs, outputs)] : [];
        temporalDownsamplers = temporal ? [new CausalTemporalDownsample(outputs, outputs)] : [];
    }

    /// <summary>[b, in, t, h, w] to [b, out, t', h', w'].</summary>
    /// <param name="x">Features.</param>
    /// <param name="pass">Where in the video they stand.</param>
    public Tensor Forward(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        foreach (var resnet in resnets)
            x = resnet.Forward(x, pass);
        foreach (var downsampler in downsamplers)
            x = downsampler.Forward(x, pass);
        foreach (var downsampler in temporalDownsamplers)
            x = downsampler.Forward(x, pass);
        return scope.Keep(x);
    }
}
