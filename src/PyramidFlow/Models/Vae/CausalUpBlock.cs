using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>A level of the decoder: residual blocks, then doubling in space, then in time.</summary>
public sealed class CausalUpBlock : Module
{
    private readonly CausalResnetBlock[] resnets;
    private readonly CausalUpsample[] upsamplers;
    private readonly CausalTemporalUpsample[] temporalUpsamplers;

    /// <summary>Declares the level.</summary>
    /// <param name="inputs">Channels in.</param>
    /// <param name="outputs">Channels out.</param>
    /// <param name="layers">Number of residual blocks.</param>
    /// <param name="settings">What they share.</param>
    /// <param name="spatial">Whether it doubles height and width.</param>
    /// <param name="temporal">Whether it doubles the frames.</param>
    public CausalUpBlock(long inputs, long outputs, int layers, ResnetSettings settings, bool spatial, bool temporal)
    {
        resnets = [.. Enumerable.Range(0, layers).Select(i => new CausalResnetBlock(i == 0 ? inputs : outputs, outputs, settings))];
        upsamplers = spatial ? [new CausalUpsample(outputs, outputs)] : [];
        temporalUpsamplers = temporal ? [new CausalTemporalUpsample(outputs, outputs)] : [];
    }

    /// <summary>[b, in, t, h, w] to [b, out, t', h', w'].</summary>
    /// <param name="x">Features.</param>
    /// <param name="pass">Where in the video they stand.</param>
    public Tensor Forward(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        foreach (var resnet in resnets)
            x = resnet.Forward(x, pass);
        foreach (var upsampler in upsamplers)
            x = upsampler.Forward(x, pass);
        foreach (var upsampler in temporalUpsamplers)
            x = upsampler.Forward(x, pass);
        return scope.Keep(x);
    }
}
