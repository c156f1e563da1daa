namespace PyramidFlow.Training.Vae;

/// <summary>How much each part of the VAE's loss counts; the defaults are those of the released scripts.</summary>
public sealed record VaeLossOptions
{
    /// <summary>Weight of the mean squared error of pixels in -1 to 1.</summary>
    public double PixelWeight { get; init; } = 10;

    /// <summary>Weight of the perceptual distance; 0 goes without, and needs no LPIPS weights.</summary>
    public double PerceptualWeight { get; init; } = 1;

    /// <summary>Weight of the Kullback-Leibler divergence, which is a sum over time, height and width.</summary>
    public double KlWeight { get; init; } = 1e-12;

    /// <summary>Weight of the adversarial part, relative to the gradient of the others at the last layer.</summary>
    public double AdversarialWeight { get; init; } = 0.5;

    /// <summary>Factor of the adversarial part and of the discriminator's own loss; 0 goes without.</summary>
    public double AdversarialFactor { get; init; } = 1;

    /// <summary>First step with an adversarial part.</summary>
    public long AdversarialStart { get; init; } = 250_000;

    /// <summary>What the discriminator minimises.</summary>
    public AdversarialLoss Adversarial { get; init; } = AdversarialLoss.Hinge;

    /// <summary>Logarithm of the variance of the reconstruction's error at the beginning.</summary>
    public double LogVariance { get; init; }
}
