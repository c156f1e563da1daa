using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Works on square parts of the frames one after another: less memory, another picture near the seams.</summary>
/// <param name="Size">Side of a tile in pixels; frames that fit into one are not cut.</param>
/// <param name="Overlap">Share of a tile that lies over its neighbour: above 0, at most a half.</param>
/// <param name="Blend">How the overlap is blended.</param>
public sealed record TileOptions(int Size = 256, double Overlap = 0.25, TileBlend Blend = TileBlend.Weighted)
{
    /// <summary>Sizes that are tried where memory is short, the largest first.</summary>
    internal static IReadOnlyList<int> Sizes { get; } = [512, 384, 256, 192, 128];

    // Where memory ran out, tiles become smaller than a plan would make them.
    private static readonly int[] leastSizes = [96, 64];

    /// <summary>Whether a tile may be blended before the next is there.</summary>
    internal bool CanGoOneByOne => Blend == TileBlend.Weighted;

    /// <summary>The next smaller tiles; null when there are none.</summary>
    /// <param name="tiles">The present ones; null for whole frames.</param>
    /// <param name="side">The longer side of the frames, pixels.</param>
    internal static TileOptions? Smaller(TileOptions? tiles, long side)
    {
        var present = Math.Min(side, tiles?.Size ?? side);
        var next = Sizes.Concat(leastSizes).FirstOrDefault(size => size < present);
        return next == 0 ? null : (tiles ?? new TileOptions()) with { Size = next };
    }

    /// <summary>Fails on sizes and overlaps that are impossible whatever the frames.</summary>
    /// <param name="scale">Pixels along a side of a latent.</param>
    /// <exception cref="ArgumentException">They are; says what would be possible.</exception>
    public void Check(int scale)
    {
        if (!(Overlap is > 0 and <= 0.5))
            throw new ArgumentException(FormattableString.Invariant($"a tile overlap of {Overlap} is not above 0 and at most 0.5: use 0.25"));
        if (Size < 2 * scale || Size % scale != 0)
            throw new ArgumentException($"tiles of {Size} pixels are not a multiple of {scale} and at least {2 * scale}: use 256");
    }
}

/// <summary>How overlapping tiles become one picture.</summary>
public enum TileBlend
{
    /// <summary>Every pixel is the mean of the tiles over it, weighted by their distance from their edges.</summary>
    Weighted,

    /// <summary>
    /// As the released code does it, for comparison with it: each tile fades in over its upper and left neighbours,
    /// which have been faded before it; tiles whose step is no multiple of the VAE's scale give latents of a wrong size.
    /// </summary>
    Sequential,
}

/// <summary>Runs a network over overlapping tiles of a video and blends what comes out.</summary>
internal sealed class Tiling
{
    private readonly TileAxis rows;
    private readonly TileAxis columns;
    private readonly int up, down;

    // Blends the released code's way; null weighs.
    private readonly Func<Tensor[,], Tensor>? sequential;

    private Tiling(TileOptions options, long height, long width, long tile, long unit, int scale, bool down)
    {
        (up, this.down) = down ? (1, scale) : (scale, 1);
        if (options.Blend == TileBlend.Sequential)
        {
            var step = (long)(tile * (1 - options.Overlap));
            (rows, columns) = (TileAxis.Stepped(height, tile, step), TileAxis.Stepped(width, tile, step));
            var result = down ? options.Size / scale : options.Size;
            var extent = (long)(result * options.Overlap);
            sequential = tiles => SequentialBlend.Run(tiles, extent, result - extent);
        }
        else
        {
            var overlap = (long)Math.Ceiling(tile * options.Overlap / unit) * unit;
            (rows, columns) = (TileAxis.Spread(height, tile, overlap, unit), TileAxis.Spread(width, tile, overlap, unit));
        }
    }

    /// <summary>Number of tiles.</summary>
    internal int Count => rows.Count * columns.Count;

    /// <summary>Tiles of pixels to encode; null when none are asked for or the frames fit into one.</summary>
    internal static Tiling? OfPixels(TileOptions? options, long height, long width, int scale)
    {
        if (options is null || (height <= options.Size && width <= options.Size))
            return null;
        options.Check(scale);
        if (options.Blend == TileBlend.Weighted)
            RequireMultiple(("height", height), ("width", width), scale);
        return new Tiling(options, height, width, options.Size, scale, scale, down: true);
    }

    /// <summary>Tiles of latents to decode; null when none are asked for or the frames fit into one.</summary>
    internal static Tiling? OfLatents(TileOptions? options, long height, long width, int scale)
    {
        if (options is null || (height <= options.Size / scale && width <= options.Size / scale))
            return null;
        options.Check(scale);
        return new Tiling(options, height, width, options.Size / scale, 1, scale, down: false);
    }

    /// <summary>Every tile through the network, blended.</summary>
    /// <param name="x">[b, c, t, h, w].</param>
    /// <param name="network">From a tile and its number to its result.</param>
    internal Tensor Run(Tensor x, Func<Tensor, int, Tensor> network)
    {
        if (sequential is null)
            return Run([x], (parts, tile) => [network(parts.Single(), tile)], gather: null)[0];
        using var scope = new TensorScope();
        var tiles = new Tensor[rows.Count, columns.Count];
        foreach (var (i, j) in Places())
            tiles[i, j] = network(Cut(x, i, j), Number(i, j));
        return scope.Keep(sequential(tiles));
    }

    /// <summary>Every tile through a network that goes through a video piece by piece: one tile's pieces first, then the next tile's.</summary>
    /// <param name="pieces">Of one video, [b, c, t, h, w] each; all sizes but t are the same.</param>
    /// <param name="network">From a tile's part of each piece and its number to their results, each of which is asked for when the one before is blended.</param>
    /// <param name="gather">Where the results are; null is where the network gives them.</param>
    /// <returns>What becomes of each piece, blended.</returns>
    /// <exception cref="InvalidOperationException">These tiles are blended the released code's way, which needs all of them at once.</exception>
    internal Tensor[] Run(IReadOnlyList<Tensor> pieces, Func<IEnumerable<Tensor>, int, IEnumerable<Tensor>> network, Device? gather)
    {
        if (sequential is not null)
            throw new InvalidOperationException("tiles that are blended the released code's way cannot be taken one after another");
        BandBlend[] bands = [.. pieces.Select(_ => new BandBlend(rows, columns, up, down, gather))];
        try
        {
            foreach (var (i, j) in Places())
            {
                using var scope = new TensorScope();
                foreach (var (band, result) in bands.Zip(network(pieces.Select(piece => Cut(piece, i, j)), Number(i, j))))
                {
                    band.Add(result, i, j);
                    result.Dispose();
                }
            }

            return [.. bands.Select(band => band.Whole())];
        }
        finally
        {
            foreach (var band in bands)
                band.Dispose();
        }
    }

    private static void RequireMultiple((string Name, long Value) height, (string Name, long Value) width, long scale)
    {
        foreach (var (name, value) in new[] { height, width })
        {
            if (value % scale != 0)
                throw new ArgumentException($"{name} {value} is not a multiple of {scale}: use {value / scale * scale} or {((value / scale) + 1) * scale}");
        }
    }

    private IEnumerable<(int Row, int Column)> Places() =>
        from i in Enumerable.Range(0, rows.Count)
        from j in Enumerable.Range(0, columns.Count)
        select (i, j);

    private Tensor Cut(Tensor x, int i, int j) => columns.Cut(rows.Cut(x, 3, i), 4, j);

    private int Number(int i, int j) => (i * columns.Count) + j;
}

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
