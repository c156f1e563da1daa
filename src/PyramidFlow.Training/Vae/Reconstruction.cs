using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Vae;

/// <summary>Reconstructs videos with a VAE, for metrics and contact sheets.</summary>
internal static class Reconstruction
{
    // Latent frames per window; few enough that a long clip needs no more memory than a training step.
    private const int LatentFrames = 2;

    /// <summary>Encodes to the posterior mean and decodes, window by window and without gradients.</summary>
    /// <param name="vae">The VAE with weights.</param>
    /// <param name="video">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w].</param>
    /// <returns>The reconstruction, same shape, clamped to -1 to 1.</returns>
    public static Tensor Compute(CausalVideoVae vae, Tensor video)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var latents = vae.Encode(video, LatentFrames * vae.Config.TemporalScale).Mode;
        return scope.Keep(vae.Decode(latents, LatentFrames).Clamp(-1, 1));
    }

    /// <summary>Composes a contact sheet: one row per clip, evenly sampled frames as columns, each as original | reconstruction.</summary>
    /// <param name="clips">Pixels in -1 to 1, [1, 3, t, h, w]; sizes may differ.</param>
    /// <param name="columns">Frames per clip, at least 1.</param>
    public static RgbImage Sheet(IReadOnlyList<(Tensor Original, Tensor Reconstruction)> clips, int columns = 4)
    {
        using var scope = new TensorScope();
        var (height, width) = (clips.Max(clip => clip.Original.Size(3)), clips.Max(clip => clip.Original.Size(4)));
        var rows = clips.Select(clip => FrameBytes.Of(Tensor.Cat([Pad(clip.Original, height, width), Pad(clip.Reconstruction, height, width)], 4).Squeeze(0)));
        return ContactSheet.Compose([.. rows], (int)(2 * width), (int)height, columns);
    }

    /// <summary>Peak signal-to-noise ratio in dB of two videos in -1 to 1; the second one is clamped to that range.</summary>
    /// <param name="expected">Pixels of any shape.</param>
    /// <param name="actual">Pixels of the same shape.</param>
    public static double PeakSignalToNoise(Tensor expected, Tensor actual)
    {
        using var scope = new TensorScope();
        var error = expected - actual.Clamp(-1, 1);
        return 10 * Math.Log10(4 / (error * error).Mean().Item());
    }

    private static Tensor Pad(Tensor video, long height, long width) =>
        video.To(Device.Cpu).To(ElementType.Float32).Pad([0, width - video.Size(4), 0, height - video.Size(3)]);
}
