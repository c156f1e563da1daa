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
