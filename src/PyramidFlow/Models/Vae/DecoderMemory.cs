using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Size of a clip to decode, in latents.</summary>
/// <param name="Height">Rows.</param>
/// <param name="Width">Columns.</param>
/// <param name="First">Frames of the first unit.</param>
/// <param name="FramesPerUnit">Frames of each further unit.</param>
/// <param name="Frames">Frames of the whole clip.</param>
internal readonly record struct DecodedClip(long Height, long Width, int First, int FramesPerUnit, int Frames);

/// <summary>Memory that decoding takes beside the VAE's weights.</summary>
internal static class DecoderMemory
{
    // The most is alive in the first residual block of the finest level, whose input has the width of the level before: this many
    // times its input, all copies in norms and convolutions counted. Measured; a test compares it with the allocator.
    private const double Inputs = 7.0;

    // The same for a clip's first frame, which no zeros are put before.
    private const double InputsOfOne = 5.4;

    // Frames that each causal convolution remembers of its input, for the next unit.
    private const int Remembered = 2;

    /// <summary>Most bytes while a clip is decoded.</summary>
    /// <param name="config">The VAE.</param>
    /// <param name="clip">The clip.</param>
    /// <param name="window">Latent frames at a time.</param>
    /// <param name="tiles">Parts of a frame at a time; null is whole frames.</param>
    /// <param name="byTile">Whether each tile goes through the whole clip before the next one.</param>
    /// <param name="type">Element type.</param>
    /// <param name="processes">Number of processes that decode each unit together; the one that gets the frames counts.</param>
    internal static long Peak(CausalVideoVaeConfig config, DecodedClip clip, int window, TileOptions? tiles, bool byTile, ElementType type, int processes = 1)
    {
        var first = Math.Min(clip.First, window + 1);
        var firstOut = 1 + ((first - 1) * config.TemporalScale);
        var frames = Math.Max(Math.Min(clip.FramesPerUnit, window), Math.Min(clip.First - first, window));
        // The last piece leaves nothing and lets go of what was left.
        var most = clip.Frames == first
            ? Piece(first, firstOut, 0)
            : Math.Max(Piece(first, firstOut, firstOut), Piece(frames, frames * config.TemporalScale, clip.Frames == first + frames ? firstOut : Remembered));
        return byTile ? most + Gathered() : most;

        long Piece(long frames, long framesOut, int framesLeft) =>
            DecoderMemory.Piece(config, frames, framesOut, Math.Min(framesLeft, Remembered), clip.Height, clip.Width, tiles, byTile, type, processes);

        // All frames of the clip, and of one row of tiles their sum in float32 and its last piece twice.
        long Gathered()
        {
            var tile = Math.Min(clip.Height * config.SpatialScale, tiles!.Size);
            var row = (long)config.DecoderOutChannels * clip.Width * config.SpatialScale;
            var framesOut = 1 + ((clip.Frames - 1) * config.TemporalScale);
            return (row * framesOut * ((clip.Height * config.SpatialScale * type.Size()) + (tile * sizeof(float))))
                + (row * frames * config.TemporalScale * tile * sizeof(float));
        }
    }

    // Most bytes while latent frames are decoded, as part of a stream or of one tile's way through the clip.
    private static long Piece(CausalVideoVaeConfig config, long frames, long framesOut, int framesLeft, long height, long width, TileOptions? tiles, bool byTile, ElementType type, int processes)
    {
        var side = tiles is null ? long.MaxValue : tiles.Size / config.SpatialScale;
        var isInTiles = height > side || width > side;
        // A band, and the rows at its edges in the first level.
        var band = processes == 1 || isInTiles ? height : Math.Min(height, ((height + processes - 1) / processes) + 1);
        var (tileHeight, tileWidth) = (Math.Min(band, side), Math.Min(width, side));
        var pixels = tileHeight * tileWidth * config.SpatialScale * config.SpatialScale;
        var widths = config.DecoderBlockOutChannels;
        var working = (long)((framesOut == 1 ? InputsOfOne : Inputs) * widths[Math.Min(1, widths.Count - 1)] * framesOut * pixels) * type.Size();
        var covered = byTile ? tileHeight * tileWidth : (long)(Covered(band, side, tiles) * Covered(width, side, tiles) / (isInTiles ? processes : 1));
        var remembered = framesLeft * RememberedChannels(config, covered) * type.Size();
        var wholeFrames = byTile ? 0 : config.DecoderOutChannels * framesOut * height * width * config.SpatialScale * config.SpatialScale;
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
