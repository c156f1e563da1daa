using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Scale and shift after a norm, and the gate of what comes of it: one third of an adaLN output.</summary>
/// <param name="Shift">[b, 1, d].</param>
/// <param name="Scale">[b, 1, d]; 1 is already added.</param>
/// <param name="Gate">[b, 1, d]; null after the last norm.</param>
public readonly record struct Modulation(Tensor Shift, Tensor Scale, Tensor? Gate)
{
    private const double Eps = 1e-6;

    /// <summary>Normalises, scales and shifts: [b, n, d] to the same.</summary>
    public Tensor Apply(Tensor x) => Fused.Modulate(x, Scale, Shift, Eps);

    /// <summary>x + gate * y, [b, n, d].</summary>
    public Tensor Add(Tensor x, Tensor y) => x.Addcmul(Gate!, y);
}

/// <summary>
/// The learned part of adaptive layer norm (DiT's adaLN-Zero): from the conditioning vector to shifts, scales and gates. They
/// depend on nothing else, so those of all steps can be had in one call.
/// </summary>
public sealed class AdaLayerNorm : Module
{
    private readonly Linear linear;

    /// <summary>Declares it with <paramref name="parts"/> outputs of width <paramref name="dim"/>; starts at zero.</summary>
    public AdaLayerNorm(long dim, int parts) => linear = new Linear(dim, parts * dim, Initializers.Zeros);

    /// <summary>All outputs side by side.</summary>
    /// <param name="activated">silu(conditioning), [rows, d].</param>
    /// <returns>[rows, parts * d].</returns>
    public Tensor Forward(Tensor activated) => linear.Forward(activated);

    /// <summary>Splits shift, scale, gate (once, or again for the MLP).</summary>
    /// <param name="parts">[b, 3d] or [b, 6d].</param>
    /// <param name="count">How many modulations.</param>
    public static Modulation[] Split(Tensor parts, int count)
    {
        var p = parts.Unsqueeze(1).Chunk(3 * count, -1);                                    // each [b, 1, d]
        return [.. Enumerable.Range(0, count).Select(i => new Modulation(p[3 * i], p[(3 * i) + 1] + 1, p[(3 * i) + 2]))];
    }

    /// <summary>Splits scale, shift: the order of the last norm (AdaLayerNormContinuous).</summary>
    /// <param name="parts">[b, 2d].</param>
    public static Modulation SplitLast(Tensor parts)
    {
        var p = parts.Unsqueeze(1).Chunk(2, -1);
        return new Modulation(p[1], p[0] + 1, null);
    }
}
