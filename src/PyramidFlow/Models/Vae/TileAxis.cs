using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Places of the tiles along height or width, in units of the network's input.</summary>
/// <param name="Starts">First position of each tile.</param>
/// <param name="Length">Positions of a tile; the last ones may have fewer.</param>
/// <param name="Total">Positions of the whole.</param>
internal sealed record TileAxis(long[] Starts, long Length, long Total)
{
    /// <summary>Number of tiles.</summary>
    internal int Count => Starts.Length;

    /// <summary>Tiles at a fixed step, as the released code places them: the last may be small.</summary>
    internal static TileAxis Stepped(long total, long length, long step) =>
        new([.. Enumerable.Range(0, (int)((total + step - 1) / step)).Select(i => i * step)], length, total);

    /// <summary>Tiles of full size, spread evenly so that neighbours overlap by at least so much.</summary>
    /// <param name="total">Positions of the whole.</param>
    /// <param name="length">Positions of a tile, a multiple of the unit.</param>
    /// <param name="overlap">Least overlap of neighbours.</param>
    /// <param name="unit">What every start is a multiple of.</param>
    internal static TileAxis Spread(long total, long length, long overlap, long unit)
    {
        if (total <= length)
            return new([0], total, total);
        var (room, step) = ((total - length + unit - 1) / unit, Math.Max(1, (length - overlap) / unit));
        var gaps = (room + step - 1) / step;
        return new([.. Enumerable.Range(0, (int)gaps + 1).Select(i => Math.Min(i * room / gaps * unit, total - length))], length, total);
    }

    /// <summary>Part of a tensor along a dimension that tile <paramref name="i"/> covers.</summary>
    internal Tensor Cut(Tensor x, int dim, int i) => x.Narrow(dim, Starts[i], Math.Min(Length, Total - Starts[i]));

    /// <summary>Weights of tile <paramref name="i"/>, rising over the overlap with each neighbour, at this many positions.</summary>
    /// <param name="i">The tile.</param>
    /// <param name="positions">Positions of the tile in the network's output.</param>
    internal Tensor Weights(int i, long positions)
    {
        var weights = new float[positions];
        var before = i > 0 ? Starts[i - 1] + Length - Starts[i] : 0;
        var after = i < Count - 1 ? Starts[i] + Length - Starts[i + 1] : 0;
        for (var p = 0; p < positions; p++)
        {
            var (fromStart, fromEnd) = ((p + 0.5) * Length / positions, (positions - p - 0.5) * Length / positions);
            weights[p] = (float)(Math.Min(1, before > 0 ? fromStart / before : 1) * Math.Min(1, after > 0 ? fromEnd / after : 1));
        }

        return Tensor.From(weights);
    }
}
