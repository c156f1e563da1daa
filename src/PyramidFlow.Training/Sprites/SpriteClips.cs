using PyramidFlow.Torch;

namespace PyramidFlow.Training.Sprites;

/// <summary>Clips of the sprites world as tensors.</summary>
public static class SpriteClips
{
    /// <summary>Renders a scene to [1, 3, t, 128, 128] in [-1, 1].</summary>
    /// <param name="scene">What is to be seen.</param>
    /// <param name="frames">Number of frames, 1 + 8n for the VAE.</param>
    public static Tensor Render(SpriteScene scene, int frames)
    {
        using var scope = new TensorScope();
        return scope.Keep(RenderChannelsLast(scene, frames).Permute(0, 4, 1, 2, 3).Contiguous());
    }

    /// <summary>Renders a scene to [1, t, 128, 128, 3] in [-1, 1].</summary>
    public static Tensor RenderChannelsLast(SpriteScene scene, int frames) => ChannelsLast(SpriteRenderer.Render(scene, frames));

    /// <summary>A drawn clip, RGB bytes [t, 128, 128, 3], as [1, t, 128, 128, 3] in [-1, 1].</summary>
    public static Tensor ChannelsLast(ReadOnlySpan<byte> rgb)
    {
        using var scope = new TensorScope();
        var bytes = Tensor.From(rgb, 1, rgb.Length / SpriteWorld.FrameBytes, SpriteWorld.Height, SpriteWorld.Width, 3);
        return scope.Keep((bytes.To(ElementType.Float32) * (2 / 255.0)) - 1);
    }

    /// <summary>Peak signal-to-noise ratio in dB of two videos in [-1, 1].</summary>
    public static double PeakSignalToNoise(Tensor expected, Tensor actual)
    {
        using var scope = new TensorScope();
        var error = expected - actual.Clamp(-1, 1);
        return 10 * Math.Log10(4 / (error * error).Mean().Item());
    }
}
