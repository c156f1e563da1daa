using System.Globalization;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page;

/// <summary>Numbers and states as people say them.</summary>
internal static class Words
{
    /// <summary>Nothing can be done until it is back.</summary>
    public const string QueueIsAway = "The queue cannot be reached just now: try again in a moment.";

    /// <summary>A message as a sentence: a capital first, a full stop last.</summary>
    public static string Sentence(string text)
    {
        text = text.Trim();
        if (text.Length == 0)
            return text;
        var end = text[^1] is '.' or '!' or '?' ? "" : ".";
        return char.ToUpperInvariant(text[0]) + text[1..] + end;
    }

    /// <summary>A time that is not exact, such as "about 2 min".</summary>
    public static string About(double seconds) => seconds switch
    {
        < 3 => "a moment",
        < 90 => Invariant($"about {Math.Round(seconds < 20 ? seconds : seconds / 5, MidpointRounding.AwayFromZero) * (seconds < 20 ? 1 : 5)} s"),
        < 5400 => Invariant($"about {Math.Round(seconds / 60)} min"),
        _ => Invariant($"about {Math.Floor(seconds / 3600)} h {Math.Floor(seconds % 3600 / 60)} min"),
    };

    /// <summary>A time that was measured, such as "12.4 s".</summary>
    public static string Time(double seconds) => seconds < 60
        ? Invariant($"{seconds:0.#} s")
        : Invariant($"{Math.Floor(seconds / 60)} min {seconds % 60:0} s");

    /// <summary>A length as both people and models count it.</summary>
    public static string Length(int frames, double framesPerSecond) => frames == 1
        ? "a still picture"
        : Invariant($"{frames / framesPerSecond:0.#} s, {frames} frames");

    /// <summary>A length in the corner of a small picture, such as "2 s".</summary>
    public static string Badge(VideoJob job) => job.Result is not { Frames: > 1 and var frames } ? "Picture" : Invariant($"{frames / FramesPerSecond(job):0.#} s");

    /// <summary>How fast a video's file plays, whatever its model is made for.</summary>
    public static double FramesPerSecond(VideoJob job) => job.Request.FramesPerSecond ?? (job.Request is { Seconds: > 0 and var seconds, Frames: { } frames, Input: var input }
        ? (input?.Kind == VideoInputKind.Video ? frames : frames - 1) / seconds : 24);

    /// <summary>A value of the first frame and one of those that follow, such as "10, then 6".</summary>
    public static string Both(string first, string later) => first == later ? first : $"{first}, then {later}";

    /// <summary>A place in the queue, such as "2nd in the queue".</summary>
    public static string Place(int? position) => position switch
    {
        null => "In the queue",
        1 => "Next in the queue",
        _ => Invariant($"{position}{Ending(position.Value)} in the queue"),
    };

    /// <summary>How a video is, in a few words.</summary>
    public static string State(VideoJob job) => job.Status switch
    {
        VideoStatus.Queued when job.SecondsLeft is { } left => $"{Place(job.QueuePosition)}, done in {About(left)}",
        VideoStatus.Queued => Place(job.QueuePosition),
        VideoStatus.InProgress when job.SecondsLeft is { } left => $"{Percent(job)}, {About(left)} left",
        VideoStatus.InProgress => Percent(job),
        VideoStatus.Completed => "Done",
        _ => job.Error?.Code == VideoError.Cancelled ? "Cancelled" : "Failed",
    };

    /// <summary>Share of the work done.</summary>
    public static string Percent(VideoJob job) => Invariant($"{Math.Floor((job.Progress?.Fraction ?? 0) * 100)}%");

    /// <summary>What is being done right now.</summary>
    public static string Phase(VideoProgress? progress) => progress?.Phase switch
    {
        null => "Starting",
        GenerationPhase.Loading => "Loading the model",
        GenerationPhase.EncodingText => "Reading the prompt",
        GenerationPhase.EncodingImage => "Looking at what it begins with",
        GenerationPhase.Denoising => "Drawing",
        _ => "Turning it into frames",
    };

    /// <summary>What a video is called: its prompt, or what stands for it.</summary>
    public static string Title(VideoJob job) => job.Request.Prompt is { Length: > 0 } prompt ? prompt
        : job.Request.Input?.Kind == VideoInputKind.Video ? "A video gone on from, without words" : "A picture set in motion, without words";

    private static string Ending(int number) => (number % 100) is 11 or 12 or 13 ? "th" : (number % 10) switch { 1 => "st", 2 => "nd", 3 => "rd", _ => "th" };

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
