using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

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
