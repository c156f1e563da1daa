using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Encoder or decoder of the VAE. Both are a first convolution, levels of residual blocks, a middle block with attention, a norm and a last
/// convolution; the encoder has its levels, which halve, before the middle, the decoder its own, which double, after it.
/// </summary>
internal sealed class CausalVaeCoder : Module
{
    private readonly CausalConv3d convIn;
    private readonly CausalLevel[] downBlocks;
    private readonly CausalMidBlock midBlock;
    private readonly CausalLevel[] upBlocks;
    private readonly CausalGroupNorm convNormOut;
    private readonly CausalConv3d convOut;

    private CausalVaeCoder(long inputs, long outputs, CausalLevel[] downBlocks, CausalLevel[] upBlocks, (long First, long Middle, long Last) widths, ResnetSettings settings)
    {
        convIn = new CausalConv3d(inputs, widths.First, kernel: 3);
        this.downBlocks = downBlocks;
        midBlock = new CausalMidBlock(widths.Middle, settings);
        this.upBlocks = upBlocks;
        convNormOut = new CausalGroupNorm(settings.Groups, widths.Last, settings.Eps);
        convOut = new CausalConv3d(widths.Last, outputs, kernel: 3);
    }

    /// <summary>Weight of the last convolution, [out, in, 3, 3, 3].</summary>
    internal Parameter LastWeight => convOut.Weight;

    /// <summary>Pixels, [b, 3, t, h, w], to the moments of latents before their 1x1 convolution, [b, 2c, t', h', w'].</summary>
    internal static CausalVaeCoder Encoder(CausalVideoVaeConfig config)
    {
        var widths = config.EncoderBlockOutChannels;
        var settings = new ResnetSettings(config.EncoderNormNumGroups, Activation: config.EncoderActFn);
        CausalLevel[] levels = [.. widths.Select((width, i) => CausalLevel.Down(widths[Math.Max(0, i - 1)], width,
            config.EncoderLayersPerBlock[i], settings, config.EncoderSpatialDownSample[i], config.EncoderTemporalDownSample[i]))];
        return new CausalVaeCoder(config.EncoderInChannels, 2 * config.EncoderOutChannels, levels, [], (widths[0], widths[^1], widths[^1]), settings);
    }

    /// <summary>Latents after their 1x1 convolution, [b, c, t', h', w'], to pixels, [b, 3, t, h, w].</summary>
    internal static CausalVaeCoder Decoder(CausalVideoVaeConfig config)
    {
        int[] widths = [.. config.DecoderBlockOutChannels.Reverse()];
        var settings = new ResnetSettings(config.DecoderNormNumGroups, Activation: config.DecoderActFn);
        CausalLevel[] levels = [.. widths.Select((width, i) => CausalLevel.Up(widths[Math.Max(0, i - 1)], width,
            config.DecoderLayersPerBlock[i], settings, config.DecoderSpatialUpSample[i], config.DecoderTemporalUpSample[i]))];
        return new CausalVaeCoder(config.EncoderOutChannels, config.DecoderOutChannels, [], levels, (widths[0], widths[0], widths[^1]), settings);
    }

    /// <summary>Runs the network on the next frames of a video.</summary>
    /// <param name="x">Pixels or latents, [b, in, t, h, w].</param>
    /// <param name="pass">Position of the frames in the video.</param>
    internal Tensor Forward(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        x = convIn.Forward(x, pass);                                          // [b, first, t, h, w]
        foreach (var level in downBlocks)
            x = level.Forward(x, pass);
        x = midBlock.Forward(x, pass);                                        // [b, middle, t', h', w']
        foreach (var level in upBlocks)
            x = level.Forward(x, pass);
        return scope.Keep(convOut.Forward(convNormOut.Forward(x, VaeActivation.Silu, pass.Bands), pass));
    }
}

/// <summary>One level of an encoder or decoder: residual blocks, then resampling in space, then in time.</summary>
internal sealed class CausalLevel : Module
{
    private readonly CausalResnetBlock[] resnets;
    private readonly CausalDownsample[] downsamplers = [];
    private readonly CausalDownsample[] temporalDownsamplers = [];
    private readonly CausalUpsample[] upsamplers = [];
    private readonly CausalTemporalUpsample[] temporalUpsamplers = [];

    // A level goes one way only: its samplers of the other way are empty, so that the checkpoint has no keys for them.
    private CausalLevel(long inputs, long outputs, int layers, ResnetSettings settings, bool up, bool spatial, bool temporal)
    {
        resnets = [.. Enumerable.Range(0, layers).Select(i => new CausalResnetBlock(i == 0 ? inputs : outputs, outputs, settings))];
        if (spatial && up)
            upsamplers = [new CausalUpsample(outputs, outputs)];
        else if (spatial)
            downsamplers = [CausalDownsample.Spatial(outputs, outputs)];
        if (temporal && up)
            temporalUpsamplers = [new CausalTemporalUpsample(outputs, outputs)];
        else if (temporal)
            temporalDownsamplers = [CausalDownsample.Temporal(outputs, outputs)];
    }

    /// <summary>Declares a level of the encoder.</summary>
    /// <param name="inputs">Channels in.</param>
    /// <param name="outputs">Channels out.</param>
    /// <param name="layers">Number of residual blocks.</param>
    /// <param name="settings">Settings of the residual blocks.</param>
    /// <param name="spatial">Whether the level halves height and width.</param>
    /// <param name="temporal">Whether the level halves the number of frames.</param>
    internal static CausalLevel Down(long inputs, long outputs, int layers, ResnetSettings settings, bool spatial, bool temporal) =>
        new(inputs, outputs, layers, settings, up: false, spatial, temporal);

    /// <summary>Declares a level of the decoder: like <see cref="Down"/>, but it doubles.</summary>
    internal static CausalLevel Up(long inputs, long outputs, int layers, ResnetSettings settings, bool spatial, bool temporal) =>
        new(inputs, outputs, layers, settings, up: true, spatial, temporal);

    /// <summary>[b, in, t, h, w] to [b, out, t', h', w'].</summary>
    /// <param name="x">Features.</param>
    /// <param name="pass">Position of the frames in the video.</param>
    internal Tensor Forward(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        foreach (var resnet in resnets)
            x = resnet.Forward(x, pass);                                      // [b, out, t, h, w]
        foreach (var sampler in downsamplers.Concat(temporalDownsamplers))
            x = sampler.Forward(x, pass);
        foreach (var sampler in upsamplers)
            x = sampler.Forward(x, pass);                                     // [b, out, t, 2h, 2w]
        foreach (var sampler in temporalUpsamplers)
            x = sampler.Forward(x, pass);                                     // [b, out, 2t, 2h, 2w]
        return scope.Keep(x);
    }
}

/// <summary>The middle of encoder and decoder: residual blocks with attention between them.</summary>
internal sealed class CausalMidBlock : Module
{
    private readonly FrameAttention?[] attentions;
    private readonly CausalResnetBlock[] resnets;

    /// <summary>Declares the block.</summary>
    /// <param name="channels">Channels in and out.</param>
    /// <param name="settings">Settings of the residual blocks.</param>
    /// <param name="headDim">Channels of an attention head; null for one head.</param>
    /// <param name="attention">Whether there is attention.</param>
    /// <param name="layers">Number of attention and residual pairs after the first residual block.</param>
    internal CausalMidBlock(long channels, ResnetSettings settings, long? headDim = null, bool attention = true, int layers = 1)
    {
        attentions = [.. Enumerable.Range(0, layers)
            .Select(_ => attention ? new FrameAttention(channels, headDim ?? channels, settings.Groups, settings.Eps) : null)];
        resnets = [.. Enumerable.Range(0, layers + 1).Select(_ => new CausalResnetBlock(channels, channels, settings))];
    }

    /// <summary>[b, c, t, h, w] to the same.</summary>
    /// <param name="x">Features.</param>
    /// <param name="pass">Position of the frames in the video.</param>
    internal Tensor Forward(Tensor x, CausalPass pass)
    {
        using var scope = new TensorScope();
        x = resnets[0].Forward(x, pass);
        for (var i = 0; i < attentions.Length; i++)
        {
            x = attentions[i]?.Forward(x, pass.Bands) ?? x;
            x = resnets[i + 1].Forward(x, pass);
        }

        return scope.Keep(x);
    }
}
