namespace PyramidFlow.Training.Vae;

/// <summary>The parts of the VAE's loss in one step.</summary>
/// <param name="Total">What is minimised.</param>
/// <param name="LogVariance">Logarithm of the variance of the reconstruction's error.</param>
/// <param name="Kl">Kullback-Leibler divergence, mean over batch and channels.</param>
/// <param name="Reconstruction">Weighted error of pixels and perception, as a negative log likelihood.</param>
/// <param name="Pixel">Mean squared error.</param>
/// <param name="Perceptual">Perceptual distance; 0 without.</param>
/// <param name="AdversarialWeight">Weight found for the adversarial part; 0 before it starts.</param>
/// <param name="AdversarialFactor">Its factor; 0 before it starts.</param>
/// <param name="Adversarial">Minus the discriminator's mean logit; 0 before it starts.</param>
public sealed record VaeLossTerms(double Total, double LogVariance, double Kl, double Reconstruction, double Pixel, double Perceptual,
    double AdversarialWeight, double AdversarialFactor, double Adversarial)
{
    /// <summary>Those of a clip from those of its windows: means, but the divergence, which is a sum over time.</summary>
    /// <param name="windows">At least one.</param>
    /// <param name="klWeight">Weight of the divergence in the total.</param>
    public static VaeLossTerms OfWindows(IReadOnlyList<VaeLossTerms> windows, double klWeight)
    {
        double Mean(Func<VaeLossTerms, double> part) => windows.Average(part);
        var kl = windows.Sum(w => w.Kl);
        return new VaeLossTerms(Mean(w => w.Total) + (klWeight * (kl - Mean(w => w.Kl))), windows[0].LogVariance, kl, Mean(w => w.Reconstruction),
            Mean(w => w.Pixel), Mean(w => w.Perceptual), Mean(w => w.AdversarialWeight), windows[0].AdversarialFactor, Mean(w => w.Adversarial));
    }
}

/// <summary>The discriminator's side of one step.</summary>
/// <param name="Loss">What is minimised; 0 before the adversarial part starts.</param>
/// <param name="Real">Mean logit of real videos.</param>
/// <param name="Fake">Mean logit of decoded ones.</param>
public sealed record DiscriminatorTerms(double Loss, double Real, double Fake)
{
    /// <summary>Those of a clip from those of its windows: means.</summary>
    /// <param name="windows">At least one.</param>
    public static DiscriminatorTerms OfWindows(IReadOnlyList<DiscriminatorTerms> windows) =>
        new(windows.Average(w => w.Loss), windows.Average(w => w.Real), windows.Average(w => w.Fake));
}
