using PyramidFlow.Torch;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Vae;

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

    /// <summary>Adds the discriminator's gradients, which are none before it takes part.</summary>
    /// <param name="video">Real videos, -1 to 1, [b, 3, t, h, w].</param>
    /// <param name="reconstruction">What was decoded of them.</param>
    /// <param name="step">Number of the step, from 0.</param>
    /// <param name="scale">Factor of the gradients.</param>
    /// <exception cref="InvalidOperationException">There is no discriminator.</exception>
    public DiscriminatorTerms BackwardDiscriminator(Tensor video, Tensor reconstruction, long step, double scale = 1)
    {
        using var scope = new TensorScope();
        var (real, fake, factor) = (Logits(video.Detach()), Logits(reconstruction.Detach()), FactorAt(step));
        var loss = options.Adversarial.Of(real, fake) * factor;
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
