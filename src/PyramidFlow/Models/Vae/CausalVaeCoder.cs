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
