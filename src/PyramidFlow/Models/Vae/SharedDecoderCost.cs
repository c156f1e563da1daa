using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>What a process of a <see cref="SharedDecoder"/> sends.</summary>
/// <param name="Bytes">Bytes.</param>
/// <param name="Exchanges">Number of exchanges, each of which waits for the others.</param>
internal readonly record struct SharedDecoderCost(long Bytes, int Exchanges)
{
    // Mean and squared deviation of a group of channels, in float64.
    private const int MomentBytes = 16;

    /// <summary>A piece of whole frames, of which each process computes a band of rows.</summary>
    /// <param name="config">The VAE.</param>
    /// <param name="type">Element type.</param>
    /// <param name="piece">Latents of the piece.</param>
    /// <param name="isStart">Whether it begins the video.</param>
    /// <param name="processes">Number of processes, at most the rows of a latent frame.</param>
    /// <param name="rank">The process.</param>
    /// <param name="givesAll">Whether all processes get the frames, or only the first one.</param>
    internal static SharedDecoderCost OfBands(CausalVideoVaeConfig config, ElementType type, ClipSize piece, bool isStart, int processes, int rank, bool givesAll)
    {
        int[] widths = [.. config.DecoderBlockOutChannels.Reverse()];
        var (frames, rows, width) = (piece.Time, VectorDivision.Share(piece.Height, processes, rank).Length, piece.Width);
        var neighbours = (rank > 0 ? 1 : 0) + (rank < processes - 1 ? 1 : 0);
        var (bytes, exchanges, channels) = (0L, 0, (long)widths[0]);
        Convolution(config.EncoderOutChannels);
        Residual(channels, channels);
        Norm();
        // Keys and values.
        (bytes, exchanges) = (bytes + (2 * (processes - 1) * channels * frames * rows * width * type.Size()), exchanges + 2);
        Residual(channels, channels);
        for (var level = 0; level < widths.Length; level++)
        {
            for (var layer = 0; layer < config.DecoderLayersPerBlock[level]; layer++, channels = widths[level])
                Residual(channels, widths[level]);
            if (config.DecoderSpatialUpSample[level])
            {
                Convolution(channels);
                (rows, width) = (2 * rows, 2 * width);
            }

            if (config.DecoderTemporalUpSample[level])
            {
                Convolution(channels);
                frames = (2 * frames) - (isStart ? 1 : 0);
            }
        }

        Norm();
        Convolution(channels);
        var receivers = Receivers(processes, rank, givesAll);
        return new SharedDecoderCost(bytes + (receivers * config.DecoderOutChannels * frames * rows * width * type.Size()), exchanges + 1);

        void Residual(long inputs, long outputs)
        {
            Norm();
            Convolution(inputs);
            Norm();
            Convolution(outputs);
        }

        // The row at each edge that has a neighbour.
        void Convolution(long inputs) => (bytes, exchanges) = (bytes + (neighbours * inputs * frames * width * type.Size()), exchanges + 1);

        void Norm() => (bytes, exchanges) = (bytes + ((processes - 1) * config.DecoderNormNumGroups * frames * MomentBytes), exchanges + 1);
    }

    /// <summary>A piece of frames in tiles, of which each process decodes some.</summary>
    /// <param name="config">The VAE.</param>
    /// <param name="type">Element type.</param>
    /// <param name="tile">Latents of a tile.</param>
    /// <param name="isStart">Whether the piece begins the video.</param>
    /// <param name="tiles">Number of tiles.</param>
    /// <param name="processes">Number of processes.</param>
    /// <param name="rank">The process.</param>
    /// <param name="givesAll">Whether all processes get the frames, or only the first one.</param>
    internal static SharedDecoderCost OfTiles(CausalVideoVaeConfig config, ElementType type, ClipSize tile, bool isStart, long tiles, int processes, int rank, bool givesAll)
    {
        var frames = (tile.Time * config.TemporalScale) - (isStart ? config.TemporalScale - 1 : 0);
        var (own, receivers) = ((tiles - rank + processes - 1) / processes, Receivers(processes, rank, givesAll));
        return new SharedDecoderCost(own * receivers * config.DecoderOutChannels * frames * tile.Height * tile.Width * config.SpatialScale * config.SpatialScale * type.Size(), (int)own);
    }

    private static int Receivers(int processes, int rank, bool givesAll) => givesAll ? processes - 1 : rank > 0 ? 1 : 0;
}
