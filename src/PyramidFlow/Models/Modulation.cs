using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>The conditioning vector: embedded timestep plus projected pooled text.</summary>
public sealed class TimeTextEmbedding : Module
{
    private const int Frequencies = 128;

    [Key("timestep_embedder")]
    private readonly TwoLayers time;

    [Key("text_embedder")]
    private readonly TwoLayers text;

    /// <summary>Declares it.</summary>
    /// <param name="dim">Width of the result.</param>
    /// <param name="pooledDim">Width of the pooled text.</param>
    public TimeTextEmbedding(long dim, long pooledDim)
    {
        time = new TwoLayers(2 * Frequencies, dim);
        text = new TwoLayers(pooledDim, dim);
    }

    /// <summary>Embeds.</summary>
    /// <param name="timesteps">[rows], 0..1000.</param>
    /// <param name="pooled">[rows, pooled].</param>
    /// <returns>[rows, d].</returns>
    public Tensor Forward(Tensor timesteps, Tensor pooled) =>
        time.Forward(Waves(timesteps.To(pooled.Type)).To(pooled.Type)) + text.Forward(pooled);

    /// <summary>Cosines, then sines, of t at 128 frequencies from 1 down to about 1/10000, in float32: [rows] to [rows, 256].</summary>
    public static Tensor Waves(Tensor timesteps)
    {
        var omega = (Tensor.Arange(0, Frequencies) * (-Math.Log(10000) / Frequencies)).Exp().To(timesteps.Device);
        var angle = timesteps.To(ElementType.Float32).Unsqueeze(1) * omega;                 // [rows, 128]
        return Tensor.Cat([angle.Cos(), angle.Sin()], -1);                                  // [rows, 256]
    }

    private sealed class TwoLayers(long inputs, long dim) : Module
    {
        [Key("linear_1")]
        private readonly Linear first = new(inputs, dim, Initializers.Normal(0.02));

        [Key("linear_2")]
        private readonly Linear second = new(dim, dim, Initializers.Normal(0.02));

        public Tensor Forward(Tensor x) => second.Forward(first.Forward(x).Silu());
    }
}

/// <summary>Scale and shift after a norm, and the gate of the branch's output: a part of an adaLN output.</summary>
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
/// The learned part of adaptive layer norm (DiT's adaLN-Zero): maps the conditioning vector to shifts, scales and gates. They
/// depend on nothing else, so one call computes them for all steps.
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
