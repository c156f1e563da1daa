using PyramidFlow.Models;
using static System.FormattableString;

namespace PyramidFlow.Generation;

/// <summary>
/// Possible clip lengths. The released VAE encodes the first frame as one latent frame and every further 8 frames as
/// another.
/// </summary>
public static class VideoLength
{
    /// <summary>Frames of a latent frame after the first, and pixels along a side of a latent.</summary>
    public const int Scale = CausalVideoVaeConfig.PipelineScale;

    /// <summary>Most frames of a clip.</summary>
    public const int MaxFrames = 1 << 20;

    /// <summary>Frames of a clip of a duration: the nearest 1 + multiple of a unit.</summary>
    /// <param name="seconds">Seconds; 0 is a still image.</param>
    /// <param name="framesPerSecond">Frames a second.</param>
    /// <param name="framesPerUnit">Latent frames of a unit.</param>
    /// <exception cref="RequestException">The time is negative, or longer than any clip.</exception>
    public static int Frames(double seconds, double framesPerSecond, int framesPerUnit = 1) =>
        1 + (UnitsOf(seconds, framesPerSecond, framesPerUnit) * Scale * framesPerUnit);

    /// <summary>New frames of a duration after given ones: at least one unit.</summary>
    /// <param name="seconds">Seconds.</param>
    /// <param name="framesPerSecond">Frames a second.</param>
    /// <param name="framesPerUnit">Latent frames of a unit.</param>
    /// <exception cref="RequestException">The time is negative, or longer than any clip.</exception>
    public static int NewFrames(double seconds, double framesPerSecond, int framesPerUnit = 1) =>
        Math.Max(1, UnitsOf(seconds, framesPerSecond, framesPerUnit)) * Scale * framesPerUnit;

    /// <summary>The most frames of a number that a VAE can encode: 1 + a multiple of 8.</summary>
    public static int Fitting(int frames) => 1 + ((frames - 1) / Scale * Scale);

    /// <summary>Latent frames of a number of frames, which is 1 + a multiple of 8.</summary>
    public static int Latents(int frames) => 1 + ((frames - 1) / Scale);

    /// <summary>Frames that latent frames at the beginning of a clip decode to.</summary>
    public static int OfLatents(int latentFrames) => 1 + ((latentFrames - 1) * Scale);

    private static int UnitsOf(double seconds, double framesPerSecond, int framesPerUnit)
    {
        if (!(seconds >= 0))
            throw RequestFault.NoLength(seconds);
        var units = Math.Round(seconds * framesPerSecond / (Scale * framesPerUnit));
        return units * Scale * framesPerUnit < MaxFrames ? (int)units
            : throw RequestFault.TooManySeconds(seconds, Math.Floor(MaxFrames / framesPerSecond));
    }
}

/// <summary>Length of a clip, and how much of it is given.</summary>
/// <param name="Given">Given frames before those to be made, of a video or latents; an image does not count.</param>
/// <param name="History">Frames of these that are encoded, or that the latents decode to.</param>
/// <param name="First">Latent frames of the first unit.</param>
/// <param name="Made">Frames to be made; without given frames this includes the first frame, image or not.</param>
/// <param name="Units">Number of units.</param>
/// <param name="Window">Latent frames that condition a unit; null is all.</param>
/// <param name="Warnings">Warnings for the user.</param>
internal sealed record ClipLength(int Given, int History, int First, int Made, int Units, int? Window, IReadOnlyList<string> Warnings)
{
    internal static ClipLength Of(GenerationOptions request, PipelineSettings settings, ConditioningInput? conditioning)
    {
        if (request.FramesPerUnit is { } together and (< 1 or > 1024))
            throw RequestFault.FramesPerUnit(together);
        if (request is { Frames: not null, Seconds: not null })
            throw RequestFault.TwoLengths();
        return conditioning is { IsContinued: true } ? Further(request, settings, conditioning) : Whole(request, settings, conditioning is not null);
    }

    private static ClipLength Whole(GenerationOptions request, PipelineSettings settings, bool hasImage)
    {
        var multiple = VideoLength.Scale * (request.FramesPerUnit ?? 1);
        var frames = request.Seconds is { } seconds
            ? VideoLength.Frames(seconds, settings.FramesPerSecond, request.FramesPerUnit ?? 1)
            : request.Frames ?? settings.Frames;
        if (frames < 1)
            throw RequestFault.NoFrames(Named(request), frames, 1 + multiple);
        var below = 1 + ((frames - 1L) / multiple * multiple);
        if (frames != below)
            throw RequestFault.FramesNotWhole(Named(request), frames, multiple, below);
        CheckMost(request, frames, 1 + ((VideoLength.MaxFrames - 1) / multiple * multiple));
        if (hasImage && frames == 1)
            throw RequestFault.PictureOnly(Named(request), 1 + multiple);
        if (settings.FullSequence)
            return Together(frames, settings);
        var warnings = new List<string>();
        var window = WindowOf(request, settings, 1 + ((frames - 1) / VideoLength.Scale), warnings);
        return new ClipLength(0, 0, 1, frames, 1 + ((frames - 1) / multiple), window, warnings);
    }

    private static ClipLength Together(int frames, PipelineSettings settings)
    {
        var latents = VideoLength.Latents(frames);
        IReadOnlyList<string> warnings = latents <= settings.MaxLatentFrames ? []
            : [Invariant($"the clip is longer than the {VideoLength.OfLatents(settings.MaxLatentFrames) / settings.FramesPerSecond:0.#} seconds this checkpoint was trained on, and it may fall apart")];
        return new ClipLength(0, 0, latents, frames, 1, null, warnings);
    }

    private static ClipLength Further(GenerationOptions request, PipelineSettings settings, ConditioningInput conditioning)
    {
        var given = conditioning.Frames;
        var multiple = VideoLength.Scale * (request.FramesPerUnit ?? 1);
        var frames = request.Seconds is { } seconds
            ? VideoLength.NewFrames(seconds, settings.FramesPerSecond, request.FramesPerUnit ?? 1)
            : request.Frames ?? Math.Max(multiple, (settings.Frames - 1) / multiple * multiple);
        var below = frames / multiple * multiple;
        if (frames < 1)
            throw RequestFault.NoNewFrames(Named(request), frames, multiple);
        if (frames != below)
            throw RequestFault.NewFramesNotWhole(Named(request), frames, multiple, below);
        CheckMost(request, frames, VideoLength.MaxFrames / multiple * multiple);
        var warnings = new List<string>();
        var history = VideoLength.Fitting(given);
        if (history != given)
            warnings.Add(Invariant($"of the {given} given frames the last {history} are gone on from, as they must be 1 more than a multiple of {VideoLength.Scale}"));
        var window = WindowOf(request, settings, VideoLength.Latents(history) + (frames / VideoLength.Scale), warnings);
        // Encoding frames before the window would be wasted work. Latents exist already, and decoding needs all of them.
        if (conditioning.Kind == ConditioningKind.Video && window is { } latents)
            history = (int)Math.Min(history, VideoLength.OfLatents(latents));
        return new ClipLength(given, history, VideoLength.Latents(history), frames, 1 + (frames / multiple), window, warnings);
    }

    private static string Named(GenerationOptions request) => request.Frames is null ? "seconds" : "frames";

    private static void CheckMost(GenerationOptions request, int frames, int most)
    {
        if (frames > most)
            throw RequestFault.TooManyFrames(Named(request), frames, most);
    }

    private static int? WindowOf(GenerationOptions request, PipelineSettings settings, int latents, List<string> warnings)
    {
        var (asked, trained) = (request.HistoryWindow, settings.MaxLatentFrames);
        if (asked is { } negative and < 0)
            throw RequestFault.HistoryNegative(negative, Math.Max(1, trained - 1));
        var fits = Math.Max(1, trained - (request.FramesPerUnit ?? 1));
        if (latents <= trained)
            return asked > 0 ? asked : null;
        var length = Invariant($"{VideoLength.OfLatents(trained) / settings.FramesPerSecond:0.#}");
        var longer = trained == 1
            ? "this checkpoint was trained on pictures only"
            : $"the clip is longer than the {length} seconds this checkpoint was trained on";
        if (asked is null)
            warnings.Add(Invariant($"{longer}: each part is made from the {fits} latent frame{(fits == 1 ? "" : "s")} before it"));
        else if (asked == 0 || asked > fits)
            warnings.Add(Invariant($"{longer}, and it may fall apart: use a history window of at most {fits}"));
        return asked is null ? fits : asked > 0 ? asked : null;
    }
}
