using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>A normal distribution over latent videos with one mean and one variance per element.</summary>
public sealed class DiagonalGaussian
{
    private const double MinLogVariance = -30;
    private const double MaxLogVariance = 20;

    /// <summary>Splits the encoder's output into means and variances.</summary>
    /// <param name="moments">Means, then logarithms of variances, along dimension 1: [b, 2c, t, h, w].</param>
    public DiagonalGaussian(Tensor moments)
    {
        Moments = moments;
        var parts = moments.Chunk(2, 1);
        Mean = parts[0];
        LogVariance = parts[1].Clamp(MinLogVariance, MaxLogVariance);
    }

    /// <summary>Output of the encoder, [b, 2c, t, h, w].</summary>
    public Tensor Moments { get; }

    /// <summary>Means, [b, c, t, h, w].</summary>
    public Tensor Mean { get; }

    /// <summary>Logarithms of the variances, within -30 to 20, [b, c, t, h, w].</summary>
    public Tensor LogVariance { get; }

    /// <summary>The most likely latents: the means.</summary>
    public Tensor Mode => Mean;

    /// <summary>Standard deviations, [b, c, t, h, w].</summary>
    public Tensor StandardDeviation() => (LogVariance * 0.5).Exp();

    /// <summary>Variances, [b, c, t, h, w].</summary>
    public Tensor Variance() => LogVariance.Exp();

    /// <summary>Draws latents. The noise is drawn on the CPU in float32, whatever the element type and device.</summary>
    public Tensor Sample(RandomGenerator generator) =>
        Sample(Tensor.Randn(Mean.Shape, generator).To(Mean.Type).To(Mean.Device));

    /// <summary>Latents from standard normal noise of the means' shape.</summary>
    public Tensor Sample(Tensor noise) => Mean.Addcmul(StandardDeviation(), noise);

    /// <summary>
    /// Kullback-Leibler divergence from another distribution, or from the standard normal distribution, summed over time, height
    /// and width: [b, c].
    /// </summary>
    public Tensor Kl(DiagonalGaussian? other = null)
    {
        if (other is null)
            return ((Mean * Mean) + Variance() - 1 - LogVariance).Sum([2, 3, 4]) * 0.5;
        var distance = Mean - other.Mean;
        return (((distance * distance) + Variance()) / other.Variance() - 1 - LogVariance + other.LogVariance).Sum([2, 3, 4]) * 0.5;
    }

    /// <summary>Negative logarithm of the density at a point, summed over all but the batch: [b].</summary>
    /// <param name="x">Latents, [b, c, t, h, w].</param>
    public Tensor NegativeLogLikelihood(Tensor x)
    {
        var distance = x - Mean;
        return ((distance * distance / Variance()) + LogVariance + Math.Log(2 * Math.PI)).Sum([1, 2, 3, 4]) * 0.5;
    }
}
