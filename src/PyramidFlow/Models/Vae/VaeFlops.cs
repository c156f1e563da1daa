namespace PyramidFlow.Models;

/// <summary>
/// Floating point operations of a <see cref="CausalVideoVae"/> for a whole video: 2 per multiply-add of convolutions, linear layers
/// and attention products; other operations are not counted. A single first frame counts one of a kernel's three taps in time,
/// because the zeros before it are skipped; longer videos count all taps.
/// </summary>
internal static class VaeFlops
{
    /// <summary>Cost of decoding latents.</summary>
    /// <param name="config">Sizes of the network.</param>
    /// <param name="frames">Latent frames.</param>
    /// <param name="height">Rows of a latent frame.</param>
    /// <param name="width">Columns of a latent frame.</param>
    public static long Decode(CausalVideoVaeConfig config, long frames, long height, long width)
    {
        int[] widths = [.. config.DecoderBlockOutChannels.Reverse()];
        var (t, h, w) = (frames, height, width);
        long channels = widths[0];
        var sum = Conv(1, config.EncoderOutChannels, config.EncoderOutChannels, t, t * h * w)
            + Conv(3, config.EncoderOutChannels, channels, t, t * h * w) + Middle(channels, t, h * w);
        for (var level = 0; level < widths.Length; level++)
        {
            sum += Resnets(config.DecoderLayersPerBlock[level], channels, widths[level], t, h * w);
            channels = widths[level];
            if (config.DecoderSpatialUpSample[level])
            {
                sum += Conv(3, channels, 4 * channels, t, t * h * w);
                (h, w) = (2 * h, 2 * w);
            }

            if (config.DecoderTemporalUpSample[level])
            {
                // For a single first frame only the half of the channels that is kept is computed.
                sum += Conv(3, channels, t == 1 ? channels : 2 * channels, t, t * h * w);
                t = (2 * t) - 1;
            }
        }

        return 2 * (sum + Conv(3, channels, config.DecoderOutChannels, t, t * h * w));
    }

    /// <summary>Cost of encoding pixels.</summary>
    /// <param name="config">Sizes of the network.</param>
    /// <param name="frames">Frames, 1 more than a multiple of the VAE's temporal scale.</param>
    /// <param name="height">Pixel rows.</param>
    /// <param name="width">Pixel columns.</param>
    public static long Encode(CausalVideoVaeConfig config, long frames, long height, long width)
    {
        var widths = config.EncoderBlockOutChannels;
        var (t, h, w) = (frames, height, width);
        long channels = widths[0];
        var sum = Conv(3, config.EncoderInChannels, channels, t, t * h * w);
        for (var level = 0; level < widths.Count; level++)
        {
            sum += Resnets(config.EncoderLayersPerBlock[level], channels, widths[level], t, h * w);
            channels = widths[level];
            if (config.EncoderSpatialDownSample[level])
            {
                (h, w) = ((h + 1) / 2, (w + 1) / 2);
                sum += Conv(3, channels, channels, t, t * h * w);
            }

            if (config.EncoderTemporalDownSample[level])
            {
                var kept = ((t - 1) / 2) + 1;
                sum += Conv(3, channels, channels, t, kept * h * w);
                t = kept;
            }
        }

        long moments = 2 * config.EncoderOutChannels;
        return 2 * (sum + Middle(channels, t, h * w) + Conv(3, channels, moments, t, t * h * w) + Conv(1, moments, moments, t, t * h * w));
    }

    private static long Conv(long kernel, long inputs, long outputs, long framesIn, long positionsOut) =>
        (framesIn == 1 ? 1 : kernel) * kernel * kernel * inputs * outputs * positionsOut;

    private static long Resnets(int layers, long inputs, long outputs, long frames, long area)
    {
        var sum = 0L;
        for (var i = 0; i < layers; i++, inputs = outputs)
        {
            sum += Conv(3, inputs, outputs, frames, frames * area) + Conv(3, outputs, outputs, frames, frames * area)
                + (inputs == outputs ? 0 : Conv(1, inputs, outputs, frames, frames * area));
        }

        return sum;
    }

    // Two residual blocks and, between them, attention within each frame.
    private static long Middle(long channels, long frames, long area) =>
        Resnets(2, channels, channels, frames, area) + (frames * ((4 * channels * channels * area) + (2 * channels * area * area)));
}
