using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Vae;

/// <summary>Forward and backward pass of one batch through VAE and discriminator.</summary>
internal static class VaeStep
{
    /// <summary>Encodes, samples latents, decodes, and adds the gradients of VAE and discriminator.</summary>
    /// <param name="vae">The VAE; a frozen encoder needs no backward pass.</param>
    /// <param name="loss">The loss with its discriminator.</param>
    /// <param name="video">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w].</param>
    /// <param name="draws">Source of the random draws around the means.</param>
    /// <param name="step">Step number, from 0.</param>
    /// <param name="scale">Factor of the gradients, such as 1 / (number of micro-batches in a step).</param>
    /// <returns>The loss terms; those of the discriminator are null before it starts.</returns>
    public static (VaeLossTerms Vae, DiscriminatorTerms? Discriminator) Backward(CausalVideoVae vae, VaeLoss loss, Tensor video,
        ITrainingDraws draws, long step, double scale = 1) =>
        Backward(vae, loss, video, frames => vae.Encode(frames), latents => vae.Decode(latents), draws, step, scale);

    /// <summary>
    /// Like <see cref="Backward(CausalVideoVae, VaeLoss, Tensor, ITrainingDraws, long, double)"/>, but in time windows, with the memory of one
    /// window. A window sees the frames before it, but its gradient ends at its first frame. All windows have the same weight in the loss,
    /// as when the released system trains with one device per window.
    /// </summary>
    /// <param name="vae">The VAE; a frozen encoder needs no backward pass.</param>
    /// <param name="loss">The loss with its discriminator.</param>
    /// <param name="video">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w].</param>
    /// <param name="windows">Number of windows; see <see cref="TimeWindows"/>.</param>
    /// <param name="draws">Source of the random draws around the means, window by window.</param>
    /// <param name="step">Step number, from 0.</param>
    /// <param name="scale">Factor of the gradients, such as 1 / (number of micro-batches in a step).</param>
    /// <returns>The loss terms; those of the discriminator are null before it starts.</returns>
    /// <exception cref="TrainingException">The clip cannot be divided into the windows.</exception>
    public static (VaeLossTerms Vae, DiscriminatorTerms? Discriminator) BackwardInWindows(CausalVideoVae vae, VaeLoss loss, Tensor video,
        int windows, ITrainingDraws draws, long step, double scale = 1)
    {
        var terms = new List<(VaeLossTerms Vae, DiscriminatorTerms? Discriminator)>();
        using var encoder = vae.EncodeStream(isTraining: true);
        using var decoder = vae.DecodeStream(isTraining: true);
        foreach (var (start, length) in TimeWindows.Split(video.Size(2), windows, vae.Config.TemporalScale))
        {
            using var scope = new TensorScope();
            terms.Add(Backward(vae, loss, video.Narrow(2, start, length), frames => new DiagonalGaussian(encoder.Push(frames)), z => decoder.Push(z),
                draws, step, scale / windows));
        }

        DiscriminatorTerms[] judged = [.. terms.Select(t => t.Discriminator).OfType<DiscriminatorTerms>()];
        return (VaeLossTerms.FromWindows([.. terms.Select(t => t.Vae)], loss.Options.KlWeight), judged.Length == 0 ? null : DiscriminatorTerms.FromWindows(judged));
    }

    private static (VaeLossTerms Vae, DiscriminatorTerms? Discriminator) Backward(CausalVideoVae vae, VaeLoss loss, Tensor video,
        Func<Tensor, DiagonalGaussian> encode, Func<Tensor, Tensor> decode, ITrainingDraws draws, long step, double scale)
    {
        using var scope = new TensorScope();
        var posterior = vae.TrainsEncoder ? encode(video) : EncodeFrozen(encode, video);
        var noise = draws.Normal(posterior.Mean.Shape).To(posterior.Mean.Type).To(posterior.Mean.Device);
        var reconstruction = decode(posterior.Sample(noise));                                       // [b, 3, t, h, w]
        var terms = loss.Backward(video, reconstruction, posterior, vae.LastWeight, step, scale);
        return (terms, loss.IsAdversarial(step) ? loss.BackwardDiscriminator(video, reconstruction, step, scale) : null);
    }

    private static DiagonalGaussian EncodeFrozen(Func<Tensor, DiagonalGaussian> encode, Tensor video)
    {
        using var noGrad = NoGrad.Begin();
        return encode(video);
    }
}

/// <summary>
/// Time windows of a clip that are processed one after another; the released system distributes them over devices
/// (<c>video_vae/context_parallel_ops.py</c>). The first window has one additional frame, the first of the video.
/// </summary>
internal static class TimeWindows
{
    /// <summary>First frame and length of each window.</summary>
    /// <param name="frames">Number of frames, 1 + scale * n.</param>
    /// <param name="windows">Number of windows, at least 1.</param>
    /// <param name="scale">Frames per latent frame.</param>
    /// <exception cref="TrainingException">The clip cannot be divided into windows of whole latent frames.</exception>
    public static IReadOnlyList<(long Start, long Length)> Split(long frames, int windows, int scale)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(windows, 1);
        var (length, rest) = Math.DivRem(frames - 1, windows);
        if (rest != 0 || length % scale != 0 || length == 0)
        {
            var unit = windows * scale;
            var fit = 1 + (Math.Max(1, (frames - 1) / unit) * unit);
            throw TrainingFault.WindowsMisfit(frames, windows, fit, fit + unit);
        }

        return [.. Enumerable.Range(0, windows).Select(i => i == 0 ? (0L, length + 1) : ((i * length) + 1, length))];
    }
}
