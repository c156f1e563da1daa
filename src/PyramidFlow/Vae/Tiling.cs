using PyramidFlow.Torch;

namespace PyramidFlow.Vae;

/// <summary>Runs a network over overlapping tiles of a video and blends what comes out.</summary>
internal sealed class Tiling
{
    private readonly TileAxis rows;
    private readonly TileAxis columns;
    private readonly Func<Tensor[,], Tensor> blend;

    private Tiling(TileOptions options, long height, long width, long tile, long unit, int scale, bool down)
    {
        if (options.Blend == TileBlend.Sequential)
        {
            var step = (long)(tile * (1 - options.Overlap));
            (rows, columns) = (TileAxis.Stepped(height, tile, step), TileAxis.Stepped(width, tile, step));
            var result = down ? options.Size / scale : options.Size;
            var extent = (long)(result * options.Overlap);
            blend = tiles => SequentialBlend.Run(tiles, extent, result - extent);
        }
        else
        {
            var overlap = (long)Math.Ceiling(tile * options.Overlap / unit) * unit;
            (rows, columns) = (TileAxis.Spread(height, tile, overlap, unit), TileAxis.Spread(width, tile, overlap, unit));
            blend = tiles => Weighted(tiles, down ? 1 : scale, down ? scale : 1);
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
        using var scope = new TensorScope();
        var tiles = new Tensor[rows.Count, columns.Count];
        for (var i = 0; i < rows.Count; i++)
        {
            for (var j = 0; j < columns.Count; j++)
                tiles[i, j] = network(columns.Cut(rows.Cut(x, 3, i), 4, j), (i * columns.Count) + j);
        }

        return scope.Keep(blend(tiles));
    }

    private static void RequireMultiple((string Name, long Value) height, (string Name, long Value) width, long scale)
    {
        foreach (var (name, value) in new[] { height, width })
        {
            if (value % scale != 0)
                throw new ArgumentException($"{name} {value} is not a multiple of {scale}: use {value / scale * scale} or {((value / scale) + 1) * scale}");
        }
    }

    private Tensor Weighted(Tensor[,] tiles, int up, int down)
    {
        var first = tiles[0, 0];
        long[] whole = [.. first.Shape[..3], rows.Total * up / down, columns.Total * up / down];
        var sum = Tensor.Zeros(whole, ElementType.Float32, first.Device);
        var weights = Tensor.Zeros([1, 1, 1, .. whole[3..]], ElementType.Float32, first.Device);
        for (var i = 0; i < rows.Count; i++)
        {
            for (var j = 0; j < columns.Count; j++)
            {
                using var scope = new TensorScope();
                var tile = tiles[i, j];
                var weight = rows.Weights(i, tile.Size(3)).Unsqueeze(1) * columns.Weights(j, tile.Size(4));          // [h, w]
                weight = weight.To(first.Device).Unflatten(0, 1, 1, 1, -1);                           // [1, 1, 1, h, w]
                Place(sum, tile, i, j).AddInPlace(tile * weight);
                Place(weights, tile, i, j).AddInPlace(weight);
            }
        }

        return sum.DivInPlace(weights).To(first.Type);

        Tensor Place(Tensor target, Tensor tile, int i, int j) => target
            .Narrow(3, rows.Starts[i] * up / down, tile.Size(3)).Narrow(4, columns.Starts[j] * up / down, tile.Size(4));
    }
}
