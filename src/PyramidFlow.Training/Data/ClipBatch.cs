using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Data;

/// <summary>Clips of one bucket.</summary>
/// <param name="Bucket">Their size and length.</param>
/// <param name="Rgb">Each clip's frames, [t, h, w, 3] bytes.</param>
/// <param name="Captions">Each clip's caption; empty where there is none.</param>
/// <param name="Lines">Where each clip is annotated.</param>
public sealed record ClipBatch(Bucket Bucket, IReadOnlyList<byte[]> Rgb, IReadOnlyList<string> Captions, IReadOnlyList<Annotation> Lines)
{
    /// <summary>The clips as a VAE takes them: float32 in -1 to 1, [b, 3, t, h, w].</summary>
    /// <param name="device">Where to; null is the CPU.</param>
    public Tensor Pixels(Device? device = null)
    {
        using var scope = new TensorScope();
        Tensor[] clips = [.. Rgb.Select(clip => FrameBytes.ToPixels(clip, Bucket.Width, Bucket.Height))];       // [1, 3, t, h, w]
        var pixels = clips.Length == 1 ? clips[0] : Tensor.Cat(clips, 0);
        return scope.Keep(pixels.To(device ?? Device.Cpu));
    }
}
