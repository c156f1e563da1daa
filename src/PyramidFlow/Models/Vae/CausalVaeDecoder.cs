using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Latents, after the first 1x1 convolution, to video.</summary>
public sealed class CausalVaeDecoder : Module
{
    private readonly CausalConv3d convIn;
    private readonly CausalMidBlock midBlock;
    private readonly CausalUpBlock[] upBlocks;
    private readonly CausalGroupNorm convNormOut;
    private readonly CausalConv3d convOut;

    /// <summary>Declares the decoder.</summary>
    public CausalVaeDecoder(CausalVideoVaeConfig config)
    {
        int[] widths = [.. config.DecoderBlockOutChannels.Reverse()];
        var settings = new ResnetSettings(config.DecoderNormNumGroups, Activation: config.DecoderActFn);
        convIn = new CausalConv3d(config.EncoderOutChannels, widths[0], kernel: 3);
        midBlock = new CausalMidBlock(widths[0], settings);
        upBlocks = [.. widths.Select((width, i) => new CausalUpBlock(widths[Math.Max(0, i - 1)], width,
            config.DecoderLayersPerBlock[i], settings, config.DecoderSpatialUpSample[i], config.DecoderTemporalUpSample[i]))];
        convNormOut = new CausalGroupNorm(settings.Groups, widths[^1], settings.Eps);
        convOut = new CausalConv3d(widths[^1], config.DecoderOutChannels, kernel: 3);
    }

    /// <summary>Weight of the convolution that gives the pixels.</summary>
    public Parameter LastWeight => convOut.Weight;

    /// <summary>[b, c, t', h', w'] to [b, 3, t, h, w].</summary>
    /// <param name="z">Latents.</param>
    /// <param name="pass">Where in the video they stand.</param>
    public Tensor Forward(Tensor z, CausalPass pass)
    {
        using var scope = new TensorScope();
        var x = midBlock.Forward(convIn.Forward(z, pass), pass);              // [b, d, t', h', w']
        foreach (var block in upBlocks)
            x = block.Forward(x, pass);
        return scope.Keep(convOut.Forward(convNormOut.Forward(x).Silu(), pass));
    }
}
