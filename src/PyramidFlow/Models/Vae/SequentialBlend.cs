using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>The released code's way of blending tiles; see <see cref="TileBlend.Sequential"/>.</summary>
internal static class SequentialBlend
{
    /// <summary>Blends a grid of tiles, changing them.</summary>
    /// <param name="tiles">Results, [b, c, t, h, w] each.</param>
    /// <param name="extent">Positions over which a tile fades in.</param>
    /// <param name="step">Positions of each tile that are kept.</param>
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
