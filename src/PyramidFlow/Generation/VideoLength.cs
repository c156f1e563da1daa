using PyramidFlow.Models.Vae;
using static System.FormattableString;

namespace PyramidFlow.Generation;

/// <summary>
/// Lengths a clip can have. The VAE of the released family makes one latent frame of the first frame and one of every
/// further 8.
/// </summary>
public static class VideoLength
{
    /// <summary>Frames of a latent frame after the first, and pixels along a side of a latent.</summary>
    public const int Scale = CausalVideoVaeConfig.PipelineScale;

    /// <summary>Most frames of a clip.</summary>
    public const int MaxFrames = 1 << 20;

    /// <summary>Frames of a clip that lasts about so long: the nearest 1 + multiple of a unit.</summary>
    /// <param name="seconds">Seconds; 0 is a still image.</param>
    /// <param name="framesPerSecond">Frames a second.</param>
    /// <param name="framesPerUnit">Latent frames of a unit.</param>
    /// <exception cref="ArgumentException">The time is negative, or longer than any clip.</exception>
    public static int Frames(double seconds, double framesPerSecond, int framesPerUnit = 1) =>
        1 + (UnitsOf(seconds, framesPerSecond, framesPerUnit) * Scale * framesPerUnit);

    /// <summary>New frames that last about so long, after those a video is gone on from: at least one unit.</summary>
    /// <param name="seconds">Seconds.</param>
    /// <param name="framesPerSecond">Frames a second.</param>
    /// <param name="framesPerUnit">Latent frames of a unit.</param>
    /// <exception cref="ArgumentException">The time is negative, or longer than any clip.</exception>
    public static int NewFrames(double seconds, double framesPerSecond, int framesPerUnit = 1) =>
        Math.Max(1, UnitsOf(seconds, framesPerSecond, framesPerUnit)) * Scale * framesPerUnit;

    /// <summary>The frames out of so many that a VAE can encode: 1 + a multiple of 8, the most there are.</summary>
    public static int Fitting(int frames) => 1 + ((frames - 1) / Scale * Scale);

    /// <summary>Latent frames of a clip of so many frames, 1 + a multiple of 8.</summary>
    public static int Latents(int frames) => 1 + ((frames - 1) / Scale);

    /// <summary>Frames that latent frames become when they begin a clip.</summary>
    public static int OfLatents(int latentFrames) => 1 + ((latentFrames - 1) * Scale);

    private static int UnitsOf(double seconds, double framesPerSecond, int framesPerUnit)
    {
        if (!(seconds >= 0))
            throw new ArgumentException(Invariant($"{seconds} seconds are no length: use 0 for a picture, or such as 5"));
        var units = Math.Round(seconds * framesPerSecond / (Scale * framesPerUnit));
        return units * Scale * framesPerUnit < MaxFrames ? (int)units
            : throw new ArgumentException(Invariant($"{seconds} seconds are longer than any video: use at most {Math.Floor(MaxFrames / framesPerSecond)}"));
    }
}
