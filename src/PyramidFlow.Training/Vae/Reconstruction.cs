using PyramidFlow.Media;
using PyramidFlow.Torch;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Vae;

/// <summary>What a VAE makes of videos, to be measured and looked at.</summary>
public static class Reconstruction
{
    // Whole latent frames, few enough that a long clip fits where a training step does.
    private const int LatentFrames = 2;

    /// <summary>Encodes and decodes without a draw and without gradients, piece by piece.</summary>
    /// <param name="vae">The network, with weights.</param>
    /// <param name="video">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w].</param>
    /// <returns>As many pixels, within -1 to 1.</returns>
    public static Tensor Of(CausalVideoVae vae, Tensor video)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var latents = vae.Encode(video, LatentFrames * vae.Config.TemporalScale).Mode;
        return scope.Keep(vae.Decode(latents, LatentFrames).Clamp(-1, 1));
    }

    /// <summary>Clips as rows, some frames of each from first to last as columns, every one as original | reconstruction.</summary>
    /// <param name="clips">Pixels in -1 to 1, [1, 3, t, h, w]; sizes may differ.</param>
    /// <param name="columns">Frames shown of each clip, at least 1.</param>
    public static RgbImage Sheet(IReadOnlyList<(Tensor Original, Tensor Reconstruction)> clips, int columns = 4)
    {
        using var scope = new TensorScope();
        var (height, width) = (clips.Max(clip => clip.Original.Size(3)), clips.Max(clip => clip.Original.Size(4)));
        var rows = clips.Select(clip => Bytes(Tensor.Cat([Fill(clip.Original, height, width), Fill(clip.Reconstruction, height, width)], 4)));
        var sheet = SpriteContactSheet.Compose([.. rows], (int)(2 * width), (int)height, columns);
        return new RgbImage(sheet.Width, sheet.Height, sheet.Pixels);
    }

    private static Tensor Fill(Tensor video, long height, long width) =>
        video.To(Device.Cpu).To(ElementType.Float32).Pad([0, width - video.Size(4), 0, height - video.Size(3)]);

    /// <summary>Pixels as bytes.</summary>
    /// <param name="video">Pixels in -1 to 1, [1, 3, t, h, w].</param>
    /// <returns>Interleaved RGB, [t, h, w, 3].</returns>
    internal static byte[] Bytes(Tensor video) =>
        ((video.Permute(0, 2, 3, 4, 1).Clamp(-1, 1) + 1) * 127.5).Round().To(ElementType.UInt8).Contiguous().ToArray<byte>();
}
