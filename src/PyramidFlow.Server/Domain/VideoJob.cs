using System.Buffers;
using System.Security.Claims;
using PyramidFlow.Generation;

namespace PyramidFlow.Server.Domain;

/// <summary>A requested video in any state.</summary>
internal sealed record VideoJob
{
    /// <summary>Public id: <c>video_</c> and 32 hexadecimal digits.</summary>
    public required string Id { get; init; }

    /// <summary>The owner; nobody else sees the video.</summary>
    public required Owner Owner { get; init; }

    /// <summary>The request with all defaults filled in.</summary>
    public required VideoRequest Request { get; init; }

    /// <summary>The state.</summary>
    public VideoStatus Status { get; init; }

    /// <summary>Time of acceptance.</summary>
    public DateTimeOffset CreatedAt { get; init; }

    /// <summary>Start of the last attempt.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>Time of completion or failure.</summary>
    public DateTimeOffset? CompletedAt { get; init; }

    /// <summary>Time at which the service removes an ended video; null for never.</summary>
    public DateTimeOffset? ExpiresAt { get; init; }

    /// <summary>Progress of the current attempt; null before the first report.</summary>
    public VideoProgress? Progress { get; init; }

    /// <summary>The reason of a failure.</summary>
    public VideoError? Error { get; init; }

    /// <summary>The result of a completed video.</summary>
    public VideoResult? Result { get; init; }

    /// <summary>How it can be changed while it is made; null before its first unit has begun.</summary>
    public VideoLive? Live { get; init; }

    /// <summary>Number of the current attempt; names of its files contain it.</summary>
    public int Attempt { get; init; }

    /// <summary>Whether its owner has marked it.</summary>
    public bool IsFavourite { get; init; }

    /// <summary>Revision of the last change; revisions grow over all jobs.</summary>
    public long Revision { get; init; }

    /// <summary>Place in the queue, from 1; null unless the video is queued.</summary>
    public int? QueuePosition { get; init; }

    /// <summary>Estimated seconds until the video is done, including those before it in the queue; null when unknown.</summary>
    public double? SecondsLeft { get; init; }

    /// <summary>Whether the video is queued and no worker is running that has its model and its LoRAs.</summary>
    public bool HasNoWorker { get; init; }

    /// <summary>The same for all videos that differ in their seed alone.</summary>
    public string Group => Request.Group ?? Id;

    /// <summary>The request for another video of its group, which has another seed.</summary>
    /// <param name="request">The request for the group; its seed is replaced.</param>
    /// <param name="number">Number of the video in the group, from 1; this one is number 0.</param>
    public VideoRequest Sibling(VideoRequest request, int number) => request with { Seed = unchecked(Request.Seed + (ulong)number), Group = Id };

    /// <summary>Whether the video has completed or failed.</summary>
    public bool HasEnded => Status is VideoStatus.Completed or VideoStatus.Failed;

    /// <summary>File name for a download, derived from the prompt.</summary>
    /// <param name="withId">Whether the name has the id too, so that no other video has it.</param>
    public string FileName(bool withId = false)
    {
        var words = (Request.Prompt ?? "").Split([.. Path.GetInvalidFileNameChars(), ' ', '.', ',', ':', ';', '"', '\'', '?', '*', '\n'], StringSplitOptions.RemoveEmptyEntries);
        var name = string.Join('-', words.Take(8)).ToLowerInvariant();
        return FormattableString.Invariant($"{(name.Length is 0 or > 80 ? "video" : name)}-{Request.Seed}{(withId ? $"-{Id[^8..]}" : "")}.{(Result?.Frames == 1 ? "png" : "mp4")}");
    }
}

/// <summary>Ids of videos: <c>video_</c> and 32 hexadecimal digits that cannot be guessed.</summary>
internal static class VideoId
{
    private const string Prefix = "video_";
    private static readonly SearchValues<char> Digits = SearchValues.Create("0123456789abcdef");

    /// <summary>Creates a new id.</summary>
    public static string New() => Prefix + Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(16));

    /// <summary>Checks the form of an id.</summary>
    public static bool IsValid(string text) =>
        text.Length == Prefix.Length + 32 && text.StartsWith(Prefix, StringComparison.Ordinal) && !text.AsSpan(Prefix.Length).ContainsAnyExcept(Digits);
}

/// <summary>State of a video.</summary>
internal enum VideoStatus
{
    /// <summary>Accepted and waiting for a worker.</summary>
    Queued,

    /// <summary>A worker is making the video.</summary>
    InProgress,

    /// <summary>The video file exists.</summary>
    Completed,

    /// <summary>The video failed; <see cref="VideoJob.Error"/> holds the reason.</summary>
    Failed,
}

/// <summary>Progress of a video.</summary>
/// <param name="Fraction">Fraction of the work done, 0 to 1.</param>
/// <param name="Phase">Current phase.</param>
/// <param name="Unit">Current unit, from 0.</param>
/// <param name="Units">Number of units.</param>
/// <param name="Stage">Current stage of the unit, from 0 (the lowest resolution).</param>
/// <param name="Stages">Number of stages.</param>
/// <param name="Step">Completed steps of the stage.</param>
/// <param name="Steps">Steps of the stage.</param>
internal sealed record VideoProgress(
    double Fraction, GenerationPhase Phase, int Unit = 0, int Units = 0, int Stage = 0, int Stages = 0, int Step = 0, int Steps = 0)
{
    /// <summary>Estimated seconds until the video is done; null when unknown.</summary>
    public double? SecondsLeft { get; init; }

    /// <summary>Number of the latest preview picture, from 1; 0 before the first. Read it with <see cref="VideoVariant.Preview"/>.</summary>
    public int Preview { get; init; }

    /// <summary>Number of frames in the live stream.</summary>
    public int LiveFrames { get; init; }

    /// <summary>Units that are finished and kept for another attempt.</summary>
    public int FinishedUnits { get; init; }

    /// <summary>The unit, from 0, from which this attempt goes on, because an earlier one has finished those before it; null begins with the first.</summary>
    public int? ResumedFrom { get; init; }
}

/// <summary>Result of a completed video.</summary>
/// <param name="Frames">Frames in the file, including those of an extended video.</param>
/// <param name="Bytes">Total bytes of the video and the files kept with it.</param>
/// <param name="Seconds">Duration of the generation in seconds.</param>
/// <param name="Warnings">Warnings for the user, for example that the prompt was truncated.</param>
internal sealed record VideoResult(int Frames, long Bytes, double Seconds, IReadOnlyList<string> Warnings);

/// <summary>The owner of requests and videos: an API key, or <see cref="Local"/> when no keys are in use.</summary>
/// <param name="Name">Name of the key and the first digits of its hash; a later key of the same name is another owner.</param>
internal readonly record struct Owner(string Name)
{
    /// <summary>The owner when no keys are in use.</summary>
    public static Owner Local { get; } = new("local");

    /// <summary>Returns the signed-in owner, or <see cref="Local"/> without keys.</summary>
    /// <param name="user">User of a request or of the page's authentication state.</param>
    public static Owner From(ClaimsPrincipal user) => user.Identity is { IsAuthenticated: true } && user.FindFirstValue(ClaimTypes.NameIdentifier) is { } owner ? new(owner) : Local;

    /// <inheritdoc/>
    public override string ToString() => Name;
}
