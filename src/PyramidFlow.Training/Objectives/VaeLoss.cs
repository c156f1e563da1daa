using PyramidFlow.Models.Vae;
using PyramidFlow.Torch;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Training.Objectives;

/// <summary>
/// Loss of the causal video VAE: pixels, perception, divergence of the latents, and a discriminator that starts late and
/// whose weight follows the other gradients (arXiv 2012.09841; <c>video_vae/modeling_loss.py</c>).
/// </summary>
public sealed class VaeLoss : Module
{
    private const double LeastNorm = 1e-4, MostWeight = 1e4;

    private readonly VaeLossOptions options;
    private readonly Parameter logvar;
    private readonly Lpips? perceptualLoss;
    private readonly PatchDiscriminator? discriminator;

    /// <summary>Joins the parts; the discriminator, if it has no weights, gets them by <see cref="Module.Initialize"/> or loading.</summary>
    /// <param name="options">How much each part counts.</param>
    /// <param name="perceptual">LPIPS; may be null at perceptual weight 0.</param>
    /// <param name="discriminator">May be null at adversarial factor 0.</param>
    /// <exception cref="ArgumentException">A part that counts is missing.</exception>
    public VaeLoss(VaeLossOptions options, Lpips? perceptual, PatchDiscriminator? discriminator)
    {
        if (options.PerceptualWeight > 0 && perceptual is null)
            throw new ArgumentException(FormattableString.Invariant($"perceptual_weight {options.PerceptualWeight} needs the LPIPS weights: give their file, or set it to 0"));
        if (options.AdversarialFactor > 0 && discriminator is null)
            throw new ArgumentException(FormattableString.Invariant($"an adversarial factor of {options.AdversarialFactor} needs a discriminator: give one, or set it to 0"));
        this.options = options;
        logvar = new Parameter([], (weight, _) => weight.Fill(options.LogVariance)) { Value = Tensor.Full([], options.LogVariance) };
        (perceptualLoss, this.discriminator) = (options.PerceptualWeight > 0 ? perceptual : null, discriminator);
    }

    /// <summary>How much each part counts.</summary>
    public VaeLossOptions Options => options;

    /// <summary>Whether the discriminator takes part in a step.</summary>
    public bool IsAdversarial(long step) => FactorAt(step) > 0;

    /// <summary>
    /// Adds the gradients of a reconstruction to the VAE's weights, and to the variance if it is trained; the discriminator's
    /// stay as they are.
    /// </summary>
    /// <param name="video">What was encoded, -1 to 1, [b, 3, t, h, w].</param>
    /// <param name="reconstruction">What was decoded, recorded for backward.</param>
    /// <param name="posterior">What the encoder gave.</param>
    /// <param name="lastWeight">The decoder's last convolution, where gradients are compared.</param>
    /// <param name="step">Number of the step, from 0.</param>
    /// <param name="scale">Factor of the gradients, such as one over the batches that make a step.</param>
    public VaeLossTerms Backward(Tensor video, Tensor reconstruction, DiagonalGaussian posterior, Tensor lastWeight, long step, double scale = 1)
    {
        using var scope = new TensorScope();

        // The graph is cut at the reconstruction: each part's gradient is found there once, and runs through the decoder in one.
        var decoded = reconstruction.Detached();
        decoded.RequiresGrad = true;
        var (pixel, perceptual, nll) = Reconstruction(video, decoded);
        var trainsVariance = logvar.Value.RequiresGrad;
        var gradients = nll.Gradients(trainsVariance ? [decoded, logvar] : [decoded]);
        var gradient = gradients[0];                                                                // [b, 3, t, h, w]
        var (factor, weight, adversarial) = (FactorAt(step), 0.0, 0.0);
        if (factor > 0)
        {
            var g = -Logits(decoded).Mean();
            var against = g.Gradients([decoded])[0];
            weight = AdaptiveWeight(reconstruction, lastWeight, gradient, against);
            gradient = gradient.Add(against, weight * factor);
            adversarial = g.Item();
        }

        var kl = posterior.Kl().Mean();
        List<(Tensor Root, Tensor Gradient)> roots = [(reconstruction, gradient * scale)];
        if (kl.RequiresGrad)
            roots.Add((kl, Tensor.Full([], options.KlWeight * scale, kl.Type, kl.Device)));
        if (trainsVariance)
            roots.Add((logvar, gradients[1] * scale));
        Tensor.Backward([.. roots.Select(r => r.Root)], [.. roots.Select(r => r.Gradient)]);
        var total = nll.Item() + (options.KlWeight * kl.Item()) + (weight * factor * adversarial);
        return new VaeLossTerms(total, logvar.Value.Item(), kl.Item(), nll.Item(), pixel.Item(), perceptual?.Item() ?? 0, weight, factor, adversarial);
    }

    /// <summary>Adds the discriminator's gradients, which are none before it takes part.</summary>
    /// <param name="video">Real videos, -1 to 1, [b, 3, t, h, w].</param>
    /// <param name="reconstruction">What was decoded of them.</param>
    /// <param name="step">Number of the step, from 0.</param>
    /// <param name="scale">Factor of the gradients.</param>
    /// <exception cref="InvalidOperationException">There is no discriminator.</exception>
    public DiscriminatorTerms BackwardDiscriminator(Tensor video, Tensor reconstruction, long step, double scale = 1)
    {
        using var scope = new TensorScope();
        var (real, fake, factor) = (Logits(video.Detached()), Logits(reconstruction.Detached()), FactorAt(step));
        var loss = options.Adversarial.Compute(real, fake) * factor;
        if (factor > 0)
            (loss * scale).Backward();
        return new DiscriminatorTerms(loss.Item(), real.Mean().Item(), fake.Mean().Item());
    }

    private double FactorAt(long step) => step >= options.AdversarialStart ? options.AdversarialFactor : 0;

    // Error of each frame as a negative log likelihood; the mean over frames of error / variance + log variance.
    private (Tensor Pixel, Tensor? Perceptual, Tensor Nll) Reconstruction(Tensor video, Tensor decoded)
    {
        var (x, y) = (Frames(video), Frames(decoded));                                              // [b * t, 3, h, w]
        var difference = x - y;
        var pixel = (difference * difference).Mean([1, 2, 3], keepDim: true);                       // [b * t, 1, 1, 1]
        var perceptual = perceptualLoss?.Forward(x, y);                                             // [b * t, 1, 1, 1]
        var error = pixel * options.PixelWeight;
        if (perceptual is not null)
            error = error.Add(perceptual, options.PerceptualWeight);
        return (pixel.Mean(), perceptual?.Mean(), ((error / logvar.Value.Exp()) + logvar).Mean());
    }

    private double AdaptiveWeight(Tensor reconstruction, Tensor lastWeight, Tensor gradient, Tensor against)
    {
        var nll = reconstruction.Gradients([lastWeight], gradient, retainGraph: true)[0].Norm().Item();
        var g = reconstruction.Gradients([lastWeight], against, retainGraph: true)[0].Norm().Item();
        return Math.Clamp(nll / (g + LeastNorm), 0, MostWeight) * options.AdversarialWeight;
    }

    private Tensor Logits(Tensor video)
    {
        var judge = discriminator ?? throw new InvalidOperationException("this loss has no discriminator");
        return judge.Forward(judge.Config.IsVideo ? video : Frames(video));
    }

    private static Tensor Frames(Tensor video) => video.Transpose(1, 2).Flatten(0, 1).Contiguous();
}

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
    public static VaeLossTerms FromWindows(IReadOnlyList<VaeLossTerms> windows, double klWeight)
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
    public static DiscriminatorTerms FromWindows(IReadOnlyList<DiscriminatorTerms> windows) =>
        new(windows.Average(w => w.Loss), windows.Average(w => w.Real), windows.Average(w => w.Fake));
}

/// <summary>What a discriminator minimises.</summary>
public enum AdversarialLoss
{
    /// <summary>Real ones above 1, decoded ones below -1.</summary>
    Hinge,

    /// <summary>Logistic regression.</summary>
    Vanilla,
}

/// <summary>The discriminator's losses (<c>video_vae/modeling_loss.py</c>).</summary>
public static class AdversarialLosses
{
    /// <summary>Half the loss on real ones plus half the loss on decoded ones: a scalar.</summary>
    /// <param name="loss">Which one.</param>
    /// <param name="real">Logits of real pictures, any shape.</param>
    /// <param name="fake">Logits of decoded ones.</param>
    public static Tensor Compute(this AdversarialLoss loss, Tensor real, Tensor fake)
    {
        using var scope = new TensorScope();
        return scope.Keep((loss == AdversarialLoss.Hinge
            ? (1 - real).Relu().Mean() + (fake + 1).Relu().Mean()
            : (-real).Softplus().Mean() + fake.Softplus().Mean()) * 0.5);
    }
}
