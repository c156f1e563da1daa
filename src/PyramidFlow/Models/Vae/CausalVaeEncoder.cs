using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Video to the moments of its latents, before the last 1x1 convolution.</summary>
public sealed class CausalVaeEncoder : Module
{
    private readonly CausalConv3d convIn;
    private readonly CausalDownBlock[] downBlocks;
    private readonly CausalMidBlock midBlock;
    private readonly CausalGroupNorm convNormOut;
    private readonly CausalConv3d convOut;

    /// <summary>Declares the encoder.</summary>
    public CausalVaeEncoder(CausalVideoVaeConfig config)
    {
        var widths = config.EncoderBlockOutChannels;
        var settings = new ResnetSettings(config.EncoderNormNumGroups, Activation: config.EncoderActFn);
        convIn = new CausalConv3d(config.EncoderInChannels, widths[0], kernel: 3);
        downBlocks = [.. widths.Select((width, i) => new CausalDownBlock(widths[Math.Max(0, i - 1)], width,
            config.EncoderLayersPerBlock[i], settings, config.EncoderSpatialDownSample[i], config.EncoderTemporalDownSample[i]))];
        midBlock = new CausalMidBlock(widths[^1], settings);
        convNormOut = new CausalGroupNorm(settings.Groups, widths[^1], settings.Eps);
        convOut = new CausalConv3d(widths[^1], 2 * config.EncoderOutChannels, kernel: 3);
    }

    /// <summary>[b, 3, t, h, w] to [b, 2c, t', h', w'].</summary>
    /// <param name="x">Pixels.</param>
    /// <param name="pass">Where in the video they stand.</param>
    public Tensor Forward(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        x = convIn.Forward(x, pass);                                          // [b, d0, t, h, w]
        foreach (var block in downBlocks)
            x = block.Forward(x, pass);
        x = midBlock.Forward(x, pass);                                        // [b, d, t', h', w']
        return scope.Keep(convOut.Forward(convNormOut.Forward(x).Silu(), pass));
    }
}
