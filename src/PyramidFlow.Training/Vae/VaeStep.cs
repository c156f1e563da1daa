using PyramidFlow.Torch;
using PyramidFlow.Training.Runs;
using PyramidFlow.Vae;

namespace PyramidFlow.Training.Vae;

/// <summary>Forward and backward of one batch through VAE and discriminator.</summary>
public static class VaeStep
{
    /// <summary>Encodes, draws latents, decodes, and adds the gradients to those of the VAE and the discriminator.</summary>
    /// <param name="vae">The network; an encoder whose weights are frozen costs no backward.</param>
    /// <param name="loss">The loss, with its discriminator.</param>
    /// <param name="video">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w].</param>
    /// <param name="draws">Source of the draws around the means.</param>
    /// <param name="step">Number of the step, from 0.</param>
    /// <param name="scale">Factor of the gradients, such as one over the batches that make a step.</param>
    /// <returns>What the losses were; the discriminator's is null before it takes part.</returns>
    public static (VaeLossTerms Vae, DiscriminatorTerms? Discriminator) Backward(CausalVideoVae vae, VaeLoss loss, Tensor video,
        ITrainingDraws draws, long step, double scale = 1)
    {
        using var scope = new TensorScope();
        var posterior = vae.Encode(video);
        var noise = draws.Normal(posterior.Mean.Shape).To(posterior.Mean.Type).To(posterior.Mean.Device);
        var reconstruction = vae.Decode(posterior.Sample(noise));                                   // [b, 3, t, h, w]
        var terms = loss.Backward(video, reconstruction, posterior, vae.LastWeight, step, scale);
        return (terms, loss.IsAdversarial(step) ? loss.BackwardDiscriminator(video, reconstruction, step, scale) : null);
    }
}
