using System.Diagnostics;
using PyramidFlow.Hub;
using PyramidFlow.Media;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Shows what is being denoised: the last latent frame of a guess, decoded as a picture by itself. At the lower stages that
/// is a small and cheap one, so the preview sharpens from stage to stage.
/// </summary>
/// <param name="models">The models.</param>
/// <param name="normalization">How the transformer sees its latents.</param>
/// <param name="pause">Least time between two.</param>
internal sealed class LatentPreview(PipelineModels models, LatentNormalization normalization, TimeSpan pause)
{
    // Decoding must not slow the work it shows.
    private const int MostShare = 10;

    private long next;

    /// <summary>A picture, or null when it is too early for another.</summary>
    internal RgbImage? Of(SamplerStep step, Func<Tensor> clean)
    {
        var start = Stopwatch.GetTimestamp();
        if (start < next)
            return null;
        using var scope = new TensorScope();
        var latents = clean();                                                                       // [b, c, t, h, w]
        var last = normalization.Denormalize(latents.Narrow(0, 0, 1).Narrow(2, latents.Size(2) - 1, 1), step.Unit == 0);
        var frame = models.Vae.Decode(last.To(models.Type).To(models.Device)).Select(0, 0);                 // [3, 1, h, w]
        var picture = new RgbImage((int)frame.Size(3), (int)frame.Size(2), FrameBytes.Of(frame));
        var (now, least) = (Stopwatch.GetTimestamp(), (long)(pause.TotalSeconds * Stopwatch.Frequency));
        next = now + Math.Max(least, MostShare * (now - start));
        return picture;
    }
}
