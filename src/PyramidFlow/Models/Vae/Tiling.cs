using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Divides frames into overlapping square tiles that are encoded or decoded one after another. Takes less memory; pixels near the seams differ.</summary>
/// <param name="Size">Side of a tile in pixels; frames that fit into one tile are not divided.</param>
/// <param name="Overlap">Share of a tile that overlaps its neighbour: above 0, at most 0.5.</param>
/// <param name="Blend">How overlaps are blended.</param>
public sealed record TileOptions(int Size = 256, double Overlap = 0.25, TileBlend Blend = TileBlend.Weighted)
{
    /// <summary>Sizes that a memory plan tries, the largest first.</summary>
    internal static IReadOnlyList<int> Sizes { get; } = [512, 384, 256, 192, 128];

    // Sizes tried only after memory ran out.
    private static readonly int[] leastSizes = [96, 64];

    /// <summary>Whether a tile can be blended before the next one is decoded.</summary>
    internal bool CanGoOneByOne => Blend == TileBlend.Weighted;

    /// <summary>The next smaller tiles; null if there are none.</summary>
    /// <param name="tiles">Present tiles; null for whole frames.</param>
    /// <param name="side">The longer side of the frames, pixels.</param>
    internal static TileOptions? Smaller(TileOptions? tiles, long side)
    {
        var present = Math.Min(side, tiles?.Size ?? side);
        var next = Sizes.Concat(leastSizes).FirstOrDefault(size => size < present);
        return next == 0 ? null : (tiles ?? new TileOptions()) with { Size = next };
    }

    /// <summary>Checks that size and overlap are possible for some frames.</summary>
    /// <param name="scale">Pixels along a side of a latent.</param>
    /// <exception cref="RequestException">They are not; the message says which values are possible.</exception>
    public void Check(int scale)
    {
        if (!(Overlap is > 0 and <= 0.5))
            throw RequestFault.TileOverlap(Overlap);
        if (Size < 2 * scale || Size % scale != 0)
            throw RequestFault.TileSize(Size, scale);
    }
}

/// <summary>How overlapping tiles are blended into one picture.</summary>
public enum TileBlend
{
    /// <summary>Every pixel is the mean of the tiles that cover it, weighted by its distance from their edges.</summary>
    Weighted,

    /// <summary>
    /// The released code's way, for comparison: each tile fades in over its upper and left neighbours, which are already blended.
    /// Tiles whose step is not a multiple of the VAE's scale give latents of a wrong size.
    /// </summary>
    Sequential,
}

/// <summary>Runs a network on overlapping tiles of a video and blends the results.</summary>
internal sealed class Tiling
{
    private readonly TileAxis rows;
    private readonly TileAxis columns;
    private readonly int up, down;

    // TileBlend.Sequential; null for TileBlend.Weighted.
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

    /// <summary>Tiles of pixels for the encoder; null if there are no options or the frames fit into one tile.</summary>
    internal static Tiling? ForEncoding(TileOptions? options, long height, long width, int scale)
    {
        if (options is null || (height <= options.Size && width <= options.Size))
            return null;
        options.Check(scale);
        if (options.Blend == TileBlend.Weighted)
            RequireMultiple(("height", height), ("width", width), scale);
        return new Tiling(options, height, width, options.Size, scale, scale, down: true);
    }

    /// <summary>Tiles of latents for the decoder; null if there are no options or the frames fit into one tile.</summary>
    internal static Tiling? ForDecoding(TileOptions? options, long height, long width, int scale)
    {
        if (options is null || (height <= options.Size / scale && width <= options.Size / scale))
            return null;
        options.Check(scale);
        return new Tiling(options, height, width, options.Size / scale, 1, scale, down: false);
    }

    /// <summary>Runs the network on every tile and blends the results.</summary>
    /// <param name="x">[b, c, t, h, w].</param>
    /// <param name="network">Computes the result of a tile from its frames and its number.</param>
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

    /// <summary>Runs a network that works piece by piece on every tile: all pieces of one tile, then those of the next.</summary>
    /// <param name="pieces">Pieces of one video, [b, c, t, h, w] each; all sizes but t are equal.</param>
    /// <param name="network">Computes the results of a tile from its part of each piece and its number; a result is requested when the previous one is blended.</param>
    /// <param name="gather">Device of the blended results; null is the device of the network's results.</param>
    /// <returns>The blended result of each piece.</returns>
    /// <exception cref="InvalidOperationException">The tiles use <see cref="TileBlend.Sequential"/>, which needs all of them at once.</exception>
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

    /// <summary>The part of a tensor that a tile covers.</summary>
    /// <param name="x">[b, c, t, h, w].</param>
    /// <param name="tile">Its number.</param>
    internal Tensor Cut(Tensor x, int tile) => Cut(x, tile / columns.Count, tile % columns.Count);

    private Tensor Cut(Tensor x, int i, int j) => columns.Cut(rows.Cut(x, 3, i), 4, j);

    private int Number(int i, int j) => (i * columns.Count) + j;
}

/// <summary>Positions of the tiles along height or width, in units of the network's input.</summary>
/// <param name="Starts">First position of each tile.</param>
/// <param name="Length">Length of a tile; the last tiles may be shorter.</param>
/// <param name="Total">Length of the whole.</param>
internal sealed record TileAxis(long[] Starts, long Length, long Total)
{
    /// <summary>Number of tiles.</summary>
    internal int Count => Starts.Length;

    /// <summary>Tiles at a fixed step, as in the released code; the last may be small.</summary>
    internal static TileAxis Stepped(long total, long length, long step) =>
        new([.. Enumerable.Range(0, (int)((total + step - 1) / step)).Select(i => i * step)], length, total);

    /// <summary>Tiles of full size, spread evenly, with at least the given overlap.</summary>
    /// <param name="total">Length of the whole.</param>
    /// <param name="length">Length of a tile, a multiple of the unit.</param>
    /// <param name="overlap">Least overlap of neighbours.</param>
    /// <param name="unit">Every start is a multiple of it.</param>
    internal static TileAxis Spread(long total, long length, long overlap, long unit)
    {
        if (total <= length)
            return new([0], total, total);
        var (room, step) = ((total - length + unit - 1) / unit, Math.Max(1, (length - overlap) / unit));
        var gaps = (room + step - 1) / step;
        return new([.. Enumerable.Range(0, (int)gaps + 1).Select(i => Math.Min(i * room / gaps * unit, total - length))], length, total);
    }

    /// <summary>The part of a tensor that tile <paramref name="i"/> covers along a dimension.</summary>
    internal Tensor Cut(Tensor x, int dim, int i) => x.Narrow(dim, Starts[i], Math.Min(Length, Total - Starts[i]));

    /// <summary>Weights of tile <paramref name="i"/>, rising over the overlap with each neighbour, at this many positions.</summary>
    /// <param name="i">The tile.</param>
    /// <param name="positions">Length of the tile in the network's output.</param>
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
