using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Rotary position embedding (RoPE): pairs of neighbouring features are rotated by position x frequency; the head's width is
/// divided among several position axes.
/// </summary>
public sealed class Rotary : IDisposable
{
    /// <summary>Base of the frequencies.</summary>
    public const double Theta = 10000;

    private readonly Tensor turns;

    /// <summary>Makes the tables of a sequence.</summary>
    /// <param name="positions">One row per axis: the position of every token.</param>
    /// <param name="dims">Features rotated by each axis; even.</param>
    /// <param name="device">Device of the tables.</param>
    public Rotary(IReadOnlyList<float[]> positions, IReadOnlyList<int> dims, Device device)
    {
        var tokens = positions[0].Length;
        var pairs = dims.Sum() / 2;
        var table = new float[tokens * pairs * 2];
        var offset = 0;
        for (var axis = 0; axis < dims.Count; axis++)
        {
            Fill(table, pairs, offset, positions[axis], dims[axis]);
            offset += dims[axis] / 2;
        }

        using var scope = new TensorScope();
        turns = TensorScope.Release(Tensor.From(table, tokens, 1, pairs, 2).To(device).ViewAsComplex());
    }

    /// <summary>Cosine and sine for each token and pair, [tokens, 1, head / 2, 2].</summary>
    public Tensor Table => turns.ViewAsReal();

    /// <summary>Rotates the heads of the tokens from <paramref name="first"/> on, in float32.</summary>
    /// <param name="x">[b, n, heads, head].</param>
    /// <param name="first">Its position in the sequence.</param>
    /// <returns>[b, n, heads, head], of the input's element type.</returns>
    public Tensor Apply(Tensor x, long first) => Fused.Rotate(x, turns.Narrow(0, first, x.Size(1)));

    /// <inheritdoc/>
    public void Dispose() => turns.Dispose();

    /// <summary>
    /// The positions 0..<paramref name="from"/>-1 resampled to <paramref name="to"/> points: linear, half-pixel centres, as a
    /// clip of lower resolution lies in the frame of the present one.
    /// </summary>
    public static float[] Resample(long from, long to)
    {
        var result = new float[to];
        var step = (double)from / to;
        for (var i = 0; i < to; i++)
            result[i] = (float)Math.Clamp(((i + 0.5) * step) - 0.5, 0, from - 1);
        return result;
    }

    // Positions repeat (a clip has few rows and columns), so each distinct one is computed once and copied.
    private static void Fill(float[] table, int pairs, int offset, float[] positions, int dim)
    {
        var known = new Dictionary<float, int>();
        for (var token = 0; token < positions.Length; token++)
        {
            var start = ((token * pairs) + offset) * 2;
            if (known.TryGetValue(positions[token], out var earlier))
            {
                Array.Copy(table, earlier, table, start, dim);
                continue;
            }

            known[positions[token]] = start;
            for (var pair = 0; pair < dim / 2; pair++)
            {
                var (sin, cos) = Math.SinCos(positions[token] / Math.Pow(Theta, 2.0 * pair / dim));
                table[start + (2 * pair)] = (float)cos;
                table[start + (2 * pair) + 1] = (float)sin;
            }
        }
    }
}
