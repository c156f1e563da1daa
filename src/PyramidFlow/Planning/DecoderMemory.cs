using PyramidFlow.Pipelines;
using PyramidFlow.Torch;
using PyramidFlow.Vae;

namespace PyramidFlow.Planning;

/// <summary>What decoding holds beside the VAE's weights.</summary>
internal static class DecoderMemory
{
    // The most is alive in the first residual block of the finest level, whose input has the width of the level before: this many
    // times its input, all copies in norms and convolutions counted. Measured; a test compares it with the allocator.
    private const double InputsInFloat32 = 7.1, InputsInNarrow = 8.9;

    // Frames that each causal convolution remembers of its input, for the next unit.
    private const int Remembered = 2;

    /// <summary>Most bytes while a clip is decoded.</summary>
    /// <param name="config">The VAE.</param>
    /// <param name="plan">The clip.</param>
    /// <param name="window">Latent frames at a time, after the first.</param>
    /// <param name="tiles">Parts that are decoded one after another; null the whole.</param>
    /// <param name="type">Element type.</param>
    internal static long Peak(CausalVideoVaeConfig config, SamplingPlan plan, int window, TileOptions? tiles, ElementType type)
    {
        var first = Math.Min(plan.First, window + 1);
        var begin = Piece(config, first, 1 + ((first - 1) * config.TemporalScale), plan.Height, plan.Width, tiles, type);
        if (plan.Frames == first)
            return begin;
        var frames = Math.Max(Math.Min(plan.FramesPerUnit, window), Math.Min(plan.First - first, window));
        return Math.Max(begin, Piece(config, frames, frames * config.TemporalScale, plan.Height, plan.Width, tiles, type));
    }

    /// <summary>Most bytes while latent frames are decoded as part of a stream.</summary>
    /// <param name="config">The VAE.</param>
    /// <param name="frames">Latent frames.</param>
    /// <param name="framesOut">Frames that they become.</param>
    /// <param name="height">Rows of the latents.</param>
    /// <param name="width">Columns of the latents.</param>
    /// <param name="tiles">Parts that are decoded one after another; null the whole.</param>
    /// <param name="type">Element type.</param>
    internal static long Piece(CausalVideoVaeConfig config, long frames, long framesOut, long height, long width, TileOptions? tiles, ElementType type)
    {
        var side = tiles is null ? long.MaxValue : tiles.Size / config.SpatialScale;
        var (tileHeight, tileWidth) = (Math.Min(height, side), Math.Min(width, side));
        var pixels = tileHeight * tileWidth * config.SpatialScale * config.SpatialScale;
        var widths = config.DecoderBlockOutChannels;
        var inputs = type == ElementType.Float32 ? InputsInFloat32 : InputsInNarrow;
        var working = (long)(inputs * widths[Math.Min(1, widths.Count - 1)] * framesOut * pixels) * type.Size();
        var covered = (long)(Covered(height, side, tiles) * Covered(width, side, tiles));
        var remembered = Math.Min(framesOut, Remembered) * RememberedChannels(config, covered) * type.Size();
        var wholeFrames = config.DecoderOutChannels * framesOut * height * width * config.SpatialScale * config.SpatialScale;
        return Math.Max(working, Attention(widths[^1], frames, tileHeight * tileWidth, type)) + remembered
            + (wholeFrames * (type.Size() + (tiles is null ? 0 : type.Size() + sizeof(float))));
    }

    // Positions along a side of all tiles together, which lie over one another.
    private static double Covered(long total, long side, TileOptions? tiles) =>
        tiles is null || total <= side ? total : side * Math.Ceiling((total - side) / (side * (1 - tiles.Overlap)) + 1);

    // Scores of one frame, or a part of them, in the type and in float32, and what softmax makes of them.
    private static long Attention(long channels, long frames, long positions, ElementType type)
    {
        const long mostScores = 1L << 26;
        return (Math.Min(frames * positions * positions, mostScores) * (type.Size() + (2 * sizeof(float)))) + (8 * channels * frames * positions * type.Size());
    }

    // Channels of each convolution's input times its area.
    private static long RememberedChannels(CausalVideoVaeConfig config, long area)
    {
        int[] widths = [.. config.DecoderBlockOutChannels.Reverse()];
        long channels = widths[0];
        var sum = (config.EncoderOutChannels + (4 * channels)) * area;
        for (var level = 0; level < widths.Length; level++)
        {
            sum += (channels + (((2 * config.DecoderLayersPerBlock[level]) - 1) * widths[level])) * area;
            channels = widths[level];
            if (config.DecoderSpatialUpSample[level])
            {
                sum += channels * area;
                area *= 4;
            }

            if (config.DecoderTemporalUpSample[level])
                sum += channels * area;
        }

        return sum + (channels * area);
    }
}
