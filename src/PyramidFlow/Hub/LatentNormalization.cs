namespace PyramidFlow.Hub;

/// <summary>
/// How the transformer sees latents: (z - shift) * scale, the first latent frame with the statistics of images, the later
/// ones with those of video.
/// </summary>
/// <param name="ImageShift">Mean of image latents.</param>
/// <param name="ImageScale">One over the standard deviation of image latents.</param>
/// <param name="VideoShift">Mean of the other frames' latents.</param>
/// <param name="VideoScale">One over the standard deviation of the other frames' latents.</param>
public sealed record LatentNormalization(double ImageShift, double ImageScale, double VideoShift, double VideoScale)
{
    /// <summary>The released checkpoints' values.</summary>
    public static LatentNormalization Released(ModelFamily family) => family == ModelFamily.Flux
        ? new(-0.04, 1 / 1.8726, -0.2343, 1 / 3.0986)
        : new(0.1490, 1 / 1.8415, -0.2343, 1 / 3.0986);
}
