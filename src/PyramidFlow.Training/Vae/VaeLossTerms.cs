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
    double AdversarialWeight, double AdversarialFactor, double Adversarial);

/// <summary>The discriminator's side of one step.</summary>
/// <param name="Loss">What is minimised; 0 before the adversarial part starts.</param>
/// <param name="Real">Mean logit of real videos.</param>
/// <param name="Fake">Mean logit of decoded ones.</param>
public sealed record DiscriminatorTerms(double Loss, double Real, double Fake);
