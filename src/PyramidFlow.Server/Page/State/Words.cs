using System.Globalization;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page.State;

/// <summary>Texts for numbers and states.</summary>
internal static class Words
{
    /// <summary>Message for an unavailable queue.</summary>
    public const string QueueIsAway = "The queue cannot be reached just now: try again in a moment.";

    /// <summary>Formats an estimated time, such as "about 2 min".</summary>
    public static string About(double seconds) => seconds switch
    {
        < 3 => "a moment",
        < 90 => Invariant($"about {Math.Round(seconds < 20 ? seconds : seconds / 5, MidpointRounding.AwayFromZero) * (seconds < 20 ? 1 : 5)} s"),
        < 5400 => Invariant($"about {Math.Round(seconds / 60)} min"),
        _ => Invariant($"about {Math.Floor(seconds / 3600)} h {Math.Floor(seconds % 3600 / 60)} min"),
    };

    /// <summary>Formats a number of bytes, such as "1.2 GB".</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        < 1_000_000 => Invariant($"{bytes / 1e3:0} kB"),
        < 1_000_000_000 => Invariant($"{bytes / 1e6:0} MB"),
        _ => Invariant($"{bytes / 1e9:0.#} GB"),
    };

    /// <summary>Formats a measured time, such as "12.4 s".</summary>
    public static string Time(double seconds) => seconds < 60
        ? Invariant($"{seconds:0.#} s")
        : Invariant($"{Math.Floor(seconds / 60)} min {seconds % 60:0} s");

    /// <summary>Formats a length in seconds and frames.</summary>
    public static string Length(int frames, double framesPerSecond) => frames == 1
        ? "a still picture"
        : Invariant($"{frames / framesPerSecond:0.#} s, {frames} frames");

    /// <summary>Formats the length on a thumbnail, such as "2 s".</summary>
    public static string Badge(VideoJob job) => job.Result is not { Frames: > 1 and var frames } ? "Picture" : Invariant($"{frames / FramesPerSecond(job):0.#} s");

    /// <summary>Frame rate of a video's file, which may differ from that of its model.</summary>
    public static double FramesPerSecond(VideoJob job) => job.Request.FramesPerSecond ?? (job.Request is { Seconds: > 0 and var seconds, Frames: { } frames, Input: var input }
        ? (input?.Kind == VideoInputKind.Video ? frames : frames - 1) / seconds : 24);

    /// <summary>Formats a value of the first frame and one of later frames, such as "10, then 6".</summary>
    public static string Both(string first, string later) => first == later ? first : $"{first}, then {later}";

    /// <summary>Formats a place in the queue, such as "2nd in the queue".</summary>
    public static string Place(int? position) => position switch
    {
        null => "In the queue",
        1 => "Next in the queue",
        _ => Invariant($"{position}{Ending(position.Value)} in the queue"),
    };

    /// <summary>Formats the state of a video.</summary>
    public static string State(VideoJob job) => job.Status switch
    {
        VideoStatus.Queued when job.HasNoWorker => $"{Place(job.QueuePosition)}: no worker for {job.Request.Model}{(job.Request.Loras is null ? "" : " with its LoRAs")} is running, so it waits until one is started",
        VideoStatus.Queued when job.SecondsLeft is { } left => $"{Place(job.QueuePosition)}, done in {About(left)}",
        VideoStatus.Queued => Place(job.QueuePosition),
        VideoStatus.InProgress when job.SecondsLeft is { } left => $"{Percent(job)}, {About(left)} left",
        VideoStatus.InProgress => Percent(job),
        VideoStatus.Completed => "Done",
        _ => job.Error?.Code == VideoError.Cancelled ? "Cancelled" : "Failed",
    };

    /// <summary>Formats the fraction of the work done.</summary>
    public static string Percent(VideoJob job) => Invariant($"{Math.Floor((job.Progress?.Fraction ?? 0) * 100)}%");

    /// <summary>Formats the fraction of the work done as the value of a progress bar.</summary>
    public static string Fraction(VideoJob job) => (job.Progress?.Fraction ?? 0).ToString("0.000", CultureInfo.InvariantCulture);

    /// <summary>Describes the current phase.</summary>
    public static string Phase(VideoProgress? progress) => progress?.Phase switch
    {
        null => "Starting",
        GenerationPhase.Loading => "Loading the model",
        GenerationPhase.EncodingText => "Reading the prompt",
        GenerationPhase.EncodingImage => "Looking at what it begins with",
        GenerationPhase.Denoising => "Drawing",
        _ => "Turning it into frames",
    };

    /// <summary>Describes where a video goes on that was interrupted.</summary>
    /// <param name="unit">The unit from which it goes on, from 0.</param>
    /// <param name="units">Number of units.</param>
    public static string Resumed(int unit, int units) => unit < units
        ? Invariant($"Goes on from part {unit + 1} of {units} after an interruption")
        : "All parts were drawn before an interruption";

    /// <summary>Describes a change of a video while it is made.</summary>
    public static string Change(ClipChange change) => change.Prompt is null
        ? Invariant($"It ends after part {change.FromUnit}")
        : Invariant($"From part {change.FromUnit + 1} on: “{change.Prompt}”");

    /// <summary>Describes a prompt that takes over later.</summary>
    public static string Later(PromptChange change) => Invariant($"From {change.FromSeconds:0.##} s on: “{change.Prompt}”");

    /// <summary>Title of a video: its prompt, or a text in its place.</summary>
    public static string Title(VideoJob job) => job.Request.Prompt is { Length: > 0 } prompt ? prompt
        : job.Request.Input?.Kind == VideoInputKind.Video ? "A video gone on from, without words" : "A picture set in motion, without words";

    private static string Ending(int number) => (number % 100) is 11 or 12 or 13 ? "th" : (number % 10) switch { 1 => "st", 2 => "nd", 3 => "rd", _ => "th" };

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <summary>URLs of a video's files, relative to the page.</summary>
internal static class VideoLinks
{
    public static string Video(VideoJob job) => Content(job, "video");

    public static string Thumbnail(VideoJob job) => Content(job, "thumbnail");

    public static string LastFrame(VideoJob job) => Content(job, "last_frame");

    public static string Input(VideoJob job) => Content(job, "input");

    /// <summary>The latest preview; its number makes each URL unique.</summary>
    public static string Preview(VideoJob job) => Content(job, "preview") + string.Create(CultureInfo.InvariantCulture, $"&n={job.Attempt}.{job.Progress?.Preview}");

    /// <summary>The live stream.</summary>
    public static string Live(VideoJob job) => $"v1/videos/{job.Id}/stream";

    /// <summary>The page with the video on its stage.</summary>
    public static string Page(string? id) => id is null ? "/" : $"/videos/{id}";

    /// <summary>Several videos in one file.</summary>
    public static string Archive(IEnumerable<string> ids) => $"v1/videos/archive?ids={string.Join(',', ids)}";

    private static string Content(VideoJob job, string variant) => $"v1/videos/{job.Id}/content?variant={variant}";
}

/// <summary>Example prompts.</summary>
internal static class Examples
{
    private static readonly string[] Sprites =
    [
        "a small red circle moving right on a black background",
        "a large white star growing on a navy background",
        "a large yellow square moving up on a teal background",
    ];

    private static readonly string[] World =
    [
        "a red panda eating bamboo in a misty forest, close view, soft morning light",
        "waves breaking on dark rocks at dusk, seen from above, slow and calm",
        "a paper boat drifting down a rainy street, reflections of neon signs",
    ];

    /// <summary>Returns examples for a model: the sprites model of the repository knows only its own world.</summary>
    public static IReadOnlyList<string> For(VideoModel? model) => model?.Id.Split(':')[0] == "sprites" ? Sprites : World;
}
