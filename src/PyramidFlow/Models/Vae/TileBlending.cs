using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Blends overlapping tiles row by row from the top: every pixel is the mean of the tiles that cover it, weighted by its distance from
/// their edges. Only the band of pixels that more tiles will cover is held in float32.
/// </summary>
/// <param name="rows">Positions of the tiles along the height.</param>
/// <param name="columns">Positions of the tiles along the width.</param>
/// <param name="up">Positions of a result per position of the network's input.</param>
/// <param name="down">Positions of the input per position of a result; one of the two is 1.</param>
/// <param name="gather">Device of the result; null is the device of the tiles.</param>
internal sealed class BandBlend(TileAxis rows, TileAxis columns, int up, int down, Device? gather) : IDisposable
{
    // The band, [b, c, t, rows, whole width], and its weights, [1, 1, 1, rows, whole width].
    private Tensor? sum, weights;
    private Tensor? result;

    /// <summary>Adds a tile. Tiles are added from left to right, rows from the top.</summary>
    /// <param name="tile">Result of the tile, [b, c, t, h, w].</param>
    /// <param name="i">Its row.</param>
    /// <param name="j">Its column.</param>
    internal void Add(Tensor tile, int i, int j)
    {
        using var scope = new TensorScope();
        tile = tile.To(gather ?? tile.Device);
        result ??= TensorScope.Release(Tensor.Empty([.. tile.Shape[..3], Scaled(rows.Total), Scaled(columns.Total)], tile.Type, tile.Device));
        if (j == 0)
            (sum, weights) = (Open(sum, tile, tile.Shape[..3]), Open(weights, tile, 1, 1, 1));
        var weight = rows.Weights(i, tile.Size(3)).Unsqueeze(1) * columns.Weights(j, tile.Size(4));                  // [h, w]
        weight = weight.To(tile.Device).Unflatten(0, 1, 1, 1, -1);                                    // [1, 1, 1, h, w]
        var (left, width) = (Scaled(columns.Starts[j]), tile.Size(4));
        sum!.Narrow(4, left, width).AddInPlace(tile * weight);
        weights!.Narrow(4, left, width).AddInPlace(weight);
        if (j == columns.Count - 1)
            Close(i);
    }

    /// <summary>The blended result after the last tile, [b, c, t, h, w], in the caller's scope.</summary>
    internal Tensor Whole() => result!.Narrow(0, 0, result!.Size(0));

    /// <inheritdoc/>
    public void Dispose()
    {
        sum?.Dispose();
        weights?.Dispose();
        result?.Dispose();
    }

    private long Scaled(long position) => position * up / down;

    // A band as high as a tile; its first rows are the rest of the band before.
    private Tensor Open(Tensor? left, Tensor tile, params long[] head)
    {
        var band = Tensor.Zeros([.. head, tile.Size(3), Scaled(columns.Total)], ElementType.Float32, tile.Device);
        if (left is not null)
            band.Narrow(3, 0, left.Size(3)).CopyFrom(left);
        left?.Dispose();
        return TensorScope.Release(band);
    }

    // No later tile covers the pixels above the next row of tiles.
    private void Close(int i)
    {
        var (band, divisor) = (sum!, weights!);
        var top = Scaled(rows.Starts[i]);
        var done = (i == rows.Count - 1 ? Scaled(rows.Total) : Scaled(rows.Starts[i + 1])) - top;
        result!.Narrow(3, top, done).CopyFrom(band.Narrow(3, 0, done).DivInPlace(divisor.Narrow(3, 0, done)));
        (sum, weights) = (Rest(band), Rest(divisor));

        Tensor? Rest(Tensor whole)
        {
            var rest = i == rows.Count - 1 ? null : TensorScope.Release(whole.Narrow(3, done, whole.Size(3) - done).Clone());
            whole.Dispose();
            return rest;
        }
    }
}

/// <summary>Blends tiles like the released code; see <see cref="TileBlend.Sequential"/>.</summary>
internal static class SequentialBlend
{
    /// <summary>Blends a grid of tiles; changes the tiles.</summary>
    /// <param name="tiles">Results, [b, c, t, h, w] each.</param>
    /// <param name="extent">Length over which a tile fades in.</param>
    /// <param name="step">Length of each tile that is kept.</param>
    internal static Tensor Run(Tensor[,] tiles, long extent, long step)
    {
        var bands = new Tensor[tiles.GetLength(0)];
        for (var i = 0; i < bands.Length; i++)
        {
            var band = new Tensor[tiles.GetLength(1)];
            for (var j = 0; j < band.Length; j++)
            {
                var tile = tiles[i, j];
                if (i > 0)
                    FadeIn(tiles[i - 1, j], tile, 3, extent);
                if (j > 0)
                    FadeIn(tiles[i, j - 1], tile, 4, extent);
                band[j] = tile.Narrow(3, 0, Math.Min(step, tile.Size(3))).Narrow(4, 0, Math.Min(step, tile.Size(4)));
            }

            bands[i] = Tensor.Cat(band, 4);
        }

        return Tensor.Cat(bands, 3);
    }

    private static void FadeIn(Tensor before, Tensor tile, int dim, long extent)
    {
        using var scope = new TensorScope();
        var length = Math.Min(extent, Math.Min(before.Size(dim), tile.Size(dim)));
        if (length == 0)
            return;
        var shape = new long[] { 1, 1, 1, 1, 1 };
        shape[dim] = length;
        var ramp = (Tensor.Arange(0, length) / length).Reshape(shape).To(tile.Type).To(tile.Device);
        var edge = before.Narrow(dim, before.Size(dim) - length, length);
        var start = tile.Narrow(dim, 0, length);
        start.CopyFrom(edge.Lerp(start, ramp));
    }
}
