namespace PyramidFlow.Models;

/// <summary>
/// Fixed position embeddings: sines, then cosines of a position at frequencies from 1 down to nearly 1/10000 (the tables of
/// <c>pyramid_dit/mmdit_modules/modeling_embedding.py</c>).
/// </summary>
internal static class SinCosTable
{
    private const double Period = 10000;

    /// <summary>Embeddings of the positions 0, <paramref name="step"/>, 2 x step, ...</summary>
    /// <param name="count">How many.</param>
    /// <param name="step">Distance of two neighbours.</param>
    /// <param name="dim">Width of an embedding; even.</param>
    /// <returns>count x dim values.</returns>
    public static float[] Line(int count, double step, int dim)
    {
        var half = dim / 2;
        var table = new float[(long)count * dim];
        for (var i = 0; i < count; i++)
        {
            var row = table.AsSpan(i * dim, dim);
            // Positions are float32 in the released tables.
            var position = (double)(float)(i * step);
            for (var f = 0; f < half; f++)
            {
                var (sin, cos) = Math.SinCos(position / Math.Pow(Period, (double)f / half));
                (row[f], row[half + f]) = ((float)sin, (float)cos);
            }
        }

        return table;
    }

    /// <summary>Embeddings of a square grid, row after row: the first half of the width tells the column, the second the row.</summary>
    /// <param name="size">Positions on a side.</param>
    /// <param name="step">Distance of two neighbours.</param>
    /// <param name="dim">Width of an embedding; a multiple of 4.</param>
    /// <returns>size x size x dim values.</returns>
    public static float[] Grid(int size, double step, int dim)
    {
        var half = dim / 2;
        var line = Line(size, step, half);
        var table = new float[(long)size * size * dim];
        for (var row = 0; row < size; row++)
        {
            for (var column = 0; column < size; column++)
            {
                var target = table.AsSpan(((row * size) + column) * dim, dim);
                line.AsSpan(column * half, half).CopyTo(target);
                line.AsSpan(row * half, half).CopyTo(target[half..]);
            }
        }

        return table;
    }
}
