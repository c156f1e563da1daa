using PyramidFlow.Hub;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Between the latents of the VAE and those of the transformer.</summary>
public static class LatentScaling
{
    /// <summary>(z - shift) * scale.</summary>
    /// <param name="normalization">Shift and scale.</param>
    /// <param name="latents">The VAE's latents, [b, c, t, h, w].</param>
    /// <param name="isStart">Whether the first frame begins the video and so has the statistics of images.</param>
    public static Tensor Normalize(this LatentNormalization normalization, Tensor latents, bool isStart) =>
        PerKind(latents, isStart,
            image => (image - normalization.ImageShift) * normalization.ImageScale,
            video => (video - normalization.VideoShift) * normalization.VideoScale);

    /// <summary>z / scale + shift.</summary>
    /// <param name="normalization">Shift and scale.</param>
    /// <param name="latents">The transformer's latents, [b, c, t, h, w].</param>
    /// <param name="isStart">Whether the first frame begins the video.</param>
    public static Tensor Denormalize(this LatentNormalization normalization, Tensor latents, bool isStart) =>
        PerKind(latents, isStart,
            image => (image / normalization.ImageScale) + normalization.ImageShift,
            video => (video / normalization.VideoScale) + normalization.VideoShift);

    private static Tensor PerKind(Tensor latents, bool isStart, Func<Tensor, Tensor> image, Func<Tensor, Tensor> video)
    {
        using var scope = new TensorScope();
        var frames = latents.Size(2);
        if (!isStart || frames == 1)
            return scope.Keep(isStart ? image(latents) : video(latents));
        return scope.Keep(Tensor.Cat([image(latents.Narrow(2, 0, 1)), video(latents.Narrow(2, 1, frames - 1))], 2));
    }
}
