using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Objectives;

/// <summary>
/// Loss of the causal video VAE: pixel error, perceptual distance, KL divergence of the latents, and an adversarial term that starts
/// late and whose weight follows the other gradients (arXiv 2012.09841; <c>video_vae/modeling_loss.py</c>).
/// </summary>
internal sealed class VaeLoss : Module
{
    private const double LeastNorm = 1e-4, MostWeight = 1e4;

    private readonly VaeLossOptions options;
    private readonly Parameter logvar;
    private readonly Lpips? perceptualLoss;
    private readonly PatchDiscriminator? discriminator;

    /// <summary>Combines the terms. A discriminator without weights receives them from <see cref="Module.Initialize"/> or from loading.</summary>
    /// <param name="options">Weights of the terms.</param>
    /// <param name="perceptual">LPIPS; may be null if the perceptual weight is 0.</param>
    /// <param name="discriminator">The discriminator; may be null if the adversarial factor is 0.</param>
    /// <exception cref="ArgumentException">A term with a weight is missing.</exception>
    public VaeLoss(VaeLossOptions options, Lpips? perceptual, PatchDiscriminator? discriminator)
    {
        if (options.PerceptualWeight > 0 && perceptual is null)
            throw new ArgumentException(FormattableString.Invariant($"perceptual_weight {options.PerceptualWeight} needs the LPIPS weights: give their file, or set it to 0"), nameof(perceptual));
        if (options.AdversarialFactor > 0 && discriminator is null)
            throw new ArgumentException(FormattableString.Invariant($"an adversarial factor of {options.AdversarialFactor} needs a discriminator: give one, or set it to 0"), nameof(discriminator));
        this.options = options;
        logvar = new Parameter([], (weight, _) => weight.Fill(options.LogVariance)) { Value = Tensor.Full([], options.LogVariance) };
        (perceptualLoss, this.discriminator) = (options.PerceptualWeight > 0 ? perceptual : null, discriminator);
    }

    /// <summary>Weights of the terms.</summary>
    public VaeLossOptions Options => options;

    /// <summary>Whether the adversarial term is active in a step.</summary>
    public bool IsAdversarial(long step) => FactorAt(step) > 0;

    /// <summary>
    /// Adds the gradients of a reconstruction to the weights of the VAE, and to the variance if it is trained; the gradients of the
    /// discriminator do not change.
    /// </summary>
    /// <param name="video">The encoded video, -1 to 1, [b, 3, t, h, w].</param>
    /// <param name="reconstruction">The decoded video, recorded for the backward pass.</param>
    /// <param name="posterior">Posterior of the encoder.</param>
    /// <param name="lastWeight">Weight of the decoder's last convolution, where gradients are compared.</param>
    /// <param name="step">Step number, from 0.</param>
    /// <param name="scale">Factor of the gradients, such as 1 / (number of micro-batches in a step).</param>
    public VaeLossTerms Backward(Tensor video, Tensor reconstruction, DiagonalGaussian posterior, Tensor lastWeight, long step, double scale = 1)
    {
        using var scope = new TensorScope();

        // The graph is cut at the reconstruction: each term's gradient is computed there once, and one backward pass through the decoder serves all.
        var decoded = reconstruction.Detach();
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

    /// <summary>Adds the gradients of the discriminator; does nothing before the adversarial term starts.</summary>
    /// <param name="video">Real videos, -1 to 1, [b, 3, t, h, w].</param>
    /// <param name="reconstruction">The decoded videos.</param>
    /// <param name="step">Step number, from 0.</param>
    /// <param name="scale">Factor of the gradients.</param>
    /// <exception cref="InvalidOperationException">There is no discriminator.</exception>
    public DiscriminatorTerms BackwardDiscriminator(Tensor video, Tensor reconstruction, long step, double scale = 1)
    {
        using var scope = new TensorScope();
        var (real, fake, factor) = (Logits(video.Detach()), Logits(reconstruction.Detach()), FactorAt(step));
        var loss = options.Adversarial.Compute(real, fake) * factor;
        if (factor > 0)
            (loss * scale).Backward();
        return new DiscriminatorTerms(loss.Item(), real.Mean().Item(), fake.Mean().Item());
    }

    private double FactorAt(long step) => step >= options.AdversarialStart ? options.AdversarialFactor : 0;

    // Negative log likelihood of the frame errors: mean over frames of error / variance + log variance.
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

/// <summary>Weights of the terms of the VAE loss; the defaults are those of the released scripts.</summary>
internal sealed record VaeLossOptions
{
    /// <summary>Weight of the mean squared error of pixels in -1 to 1.</summary>
    public double PixelWeight { get; init; } = 10;

    /// <summary>Weight of the perceptual distance; 0 omits the term, which then needs no LPIPS weights.</summary>
    public double PerceptualWeight { get; init; } = 1;

    /// <summary>Weight of the KL divergence, a sum over time, height and width.</summary>
    public double KlWeight { get; init; } = 1e-12;

    /// <summary>Weight of the adversarial term relative to the gradient of the other terms at the last layer.</summary>
    public double AdversarialWeight { get; init; } = 0.5;

    /// <summary>Factor of the adversarial term and of the discriminator's loss; 0 omits both.</summary>
    public double AdversarialFactor { get; init; } = 1;

    /// <summary>First step with an adversarial term.</summary>
    public long AdversarialStart { get; init; } = 250_000;

    /// <summary>Loss function of the discriminator.</summary>
    public AdversarialLoss Adversarial { get; init; } = AdversarialLoss.Hinge;

    /// <summary>Initial logarithm of the variance of the reconstruction error.</summary>
    public double LogVariance { get; init; }
}

/// <summary>Terms of the VAE loss in one step.</summary>
/// <param name="Total">The minimised loss.</param>
/// <param name="LogVariance">Logarithm of the variance of the reconstruction error.</param>
/// <param name="Kl">KL divergence, mean over batch and channels.</param>
/// <param name="Reconstruction">Weighted pixel and perceptual error, as a negative log likelihood.</param>
/// <param name="Pixel">Mean squared error.</param>
/// <param name="Perceptual">Perceptual distance; 0 if omitted.</param>
/// <param name="AdversarialWeight">Adaptive weight of the adversarial term; 0 before it starts.</param>
/// <param name="AdversarialFactor">Factor of the adversarial term; 0 before it starts.</param>
/// <param name="Adversarial">Negative mean logit of the discriminator; 0 before it starts.</param>
internal sealed record VaeLossTerms(double Total, double LogVariance, double Kl, double Reconstruction, double Pixel, double Perceptual,
    double AdversarialWeight, double AdversarialFactor, double Adversarial)
{
    /// <summary>Combines the terms of the windows of a clip: means, except for the divergence, which is a sum over time.</summary>
    /// <param name="windows">Terms of each window, at least one.</param>
    /// <param name="klWeight">Weight of the divergence in the total.</param>
    public static VaeLossTerms FromWindows(IReadOnlyList<VaeLossTerms> windows, double klWeight)
    {
        double Mean(Func<VaeLossTerms, double> part) => windows.Average(part);
        var kl = windows.Sum(w => w.Kl);
        return new VaeLossTerms(Mean(w => w.Total) + (klWeight * (kl - Mean(w => w.Kl))), windows[0].LogVariance, kl, Mean(w => w.Reconstruction),
            Mean(w => w.Pixel), Mean(w => w.Perceptual), Mean(w => w.AdversarialWeight), windows[0].AdversarialFactor, Mean(w => w.Adversarial));
    }
}

/// <summary>Loss of the discriminator in one step.</summary>
/// <param name="Loss">The minimised loss; 0 before the adversarial term starts.</param>
/// <param name="Real">Mean logit of real videos.</param>
/// <param name="Fake">Mean logit of decoded videos.</param>
internal sealed record DiscriminatorTerms(double Loss, double Real, double Fake)
{
    /// <summary>Means over the windows of a clip.</summary>
    /// <param name="windows">Terms of each window, at least one.</param>
    public static DiscriminatorTerms FromWindows(IReadOnlyList<DiscriminatorTerms> windows) =>
        new(windows.Average(w => w.Loss), windows.Average(w => w.Real), windows.Average(w => w.Fake));
}

/// <summary>Loss function of a discriminator.</summary>
public enum AdversarialLoss
{
    /// <summary>Hinge loss: real logits above 1, decoded ones below -1.</summary>
    Hinge,

    /// <summary>Logistic regression.</summary>
    Vanilla,
}

/// <summary>Losses of the discriminator (<c>video_vae/modeling_loss.py</c>).</summary>
internal static class AdversarialLosses
{
    /// <summary>Half the loss on real plus half the loss on decoded inputs: a scalar.</summary>
    /// <param name="loss">The loss function.</param>
    /// <param name="real">Logits of real inputs, any shape.</param>
    /// <param name="fake">Logits of decoded inputs.</param>
    public static Tensor Compute(this AdversarialLoss loss, Tensor real, Tensor fake)
    {
        using var scope = new TensorScope();
        return scope.Keep((loss == AdversarialLoss.Hinge
            ? (1 - real).Relu().Mean() + (fake + 1).Relu().Mean()
            : (-real).Softplus().Mean() + fake.Softplus().Mean()) * 0.5);
    }
}
