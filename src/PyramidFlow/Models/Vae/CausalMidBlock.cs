using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>The middle of encoder and decoder: residual blocks with attention between them.</summary>
public sealed class CausalMidBlock : Module
{
    private readonly FrameAttention?[] attentions;
    private readonly CausalResnetBlock[] resnets;

    /// <summary>Declares the block.</summary>
    /// <param name="channels">Channels in and out.</param>
    /// <param name="settings">What the residual blocks share.</param>
    /// <param name="headDim">Channels of an attention head; null for one head.</param>
    /// <param name="attention">Whether there is attention.</param>
    /// <param name="layers">Number of attention and residual pairs after the first residual block.</param>
    public CausalMidBlock(long channels, ResnetSettings settings, long? headDim = null, bool attention = true, int layers = 1)
    {
        attentions = [.. Enumerable.Range(0, layers)
            .Select(_ => attention ? new FrameAttention(channels, headDim ?? channels, settings.Groups, settings.Eps) : null)];
        resnets = [.. Enumerable.Range(0, layers + 1).Select(_ => new CausalResnetBlock(channels, channels, settings))];
    }

    /// <summary>[b, c, t, h, w] to the same.</summary>
    /// <param name="x">Features.</param>
    /// <param name="pass">Where in the video they stand.</param>
    public Tensor Forward(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        x = resnets[0].Forward(x, pass);
        for (var i = 0; i < attentions.Length; i++)
        {
            x = attentions[i]?.Forward(x) ?? x;
            x = resnets[i + 1].Forward(x, pass);
        }

        return scope.Keep(x);
    }
}
