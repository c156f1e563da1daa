using PyramidFlow.Torch;

namespace PyramidFlow.Schedulers;

/// <summary>
/// Ancestral sampling on a cosine schedule over t in [0, 1], 1 being noise (<c>diffusion_schedulers/scheduling_cosine_ddpm.py</c>).
/// </summary>
/// <param name="scaler">Bends the time axis: above 1 towards noise, below 1 towards data; positive.</param>
/// <param name="s">Offset that keeps the first steps from being too small.</param>
public sealed class CosineDdpmScheduler(double scaler = 1, double s = 0.008)
{
    private const double Smallest = 0.0001;

    /// <summary>The times of a run of <paramref name="count"/> steps: count + 1 numbers from 1 to 0.</summary>
    public static float[] Timesteps(int count) =>
        [.. Enumerable.Range(0, count + 1).Select(i => (float)(1 - ((double)i / count)))];

    /// <summary>The time after the one of <paramref name="timesteps"/> that lies nearest to <paramref name="t"/>.</summary>
    public static float Previous(IReadOnlyList<float> timesteps, float t)
    {
        var nearest = Enumerable.Range(0, timesteps.Count).MinBy(i => Math.Abs(timesteps[i] - t));
        return nearest + 1 < timesteps.Count ? timesteps[nearest + 1]
            : throw new ArgumentOutOfRangeException(nameof(t), t, "no time comes after the last one of a run");
    }

    /// <summary>Share of the data's variance left at time t; any shape, within [0.0001, 0.9999].</summary>
    public Tensor AlphaCumprod(Tensor t)
    {
        using var scope = new TensorScope();
        if (scaler > 1)
            t = 1 - (1 - t).Pow(scaler);
        else if (scaler < 1)
            t = t.Pow(scaler);
        var first = Math.Pow(Math.Cos(s / (1 + s) * Math.PI / 2), 2);
        return scope.Keep((((t + s) * (Math.PI / 2 / (1 + s))).Cos().Pow(2) / first).Clamp(Smallest, 1 - Smallest));
    }

    /// <summary>One step towards data.</summary>
    /// <param name="modelOutput">Predicted noise.</param>
    /// <param name="t">Time of each sample, [b].</param>
    /// <param name="previous">Time to go to, [b].</param>
    /// <param name="sample">[b, ...].</param>
    /// <param name="noise">Standard normal draws, shaped like the sample; not used where <paramref name="previous"/> is 0.</param>
    public Tensor Step(Tensor modelOutput, Tensor t, Tensor previous, Tensor sample, Tensor noise)
    {
        using var scope = new TensorScope();
        var (now, then) = (Wide(AlphaCumprod(t), sample), Wide(AlphaCumprod(previous), sample));
        var alpha = now / then;
        var mean = alpha.Reciprocal().Sqrt() * (sample - (1 - alpha) * modelOutput / (1 - now).Sqrt());
        var deviation = ((1 - alpha) * (1 - then) / (1 - now)).Sqrt() * Wide((1 - previous.Eq(0).To(ElementType.Float32)), sample);
        return scope.Keep((mean + deviation * noise).To(modelOutput.Type));
    }

    /// <summary>A clean sample [b, ...] with noise as at times t [b].</summary>
    public Tensor AddNoise(Tensor sample, Tensor noise, Tensor t)
    {
        using var scope = new TensorScope();
        var share = Wide(AlphaCumprod(t), sample);
        return scope.Keep((share.Sqrt() * sample + (1 - share).Sqrt() * noise).To(sample.Type));
    }

    private static Tensor Wide(Tensor perSample, Tensor like) =>
        perSample.Reshape([-1, .. Enumerable.Repeat(1L, like.Dim - 1)]);
}
