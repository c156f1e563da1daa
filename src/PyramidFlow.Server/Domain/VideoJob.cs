using System.Buffers;
using System.Security.Claims;
using PyramidFlow.Generation;

namespace PyramidFlow.Server.Domain;

/// <summary>A video that was asked for, whether it is made already or not.</summary>
public sealed record VideoJob
{
    /// <summary>Its name to users: <c>video_</c> and 32 hexadecimal digits.</summary>
    public required string Id { get; init; }

    /// <summary>Who asked for it; nobody else sees it.</summary>
    public required Owner Owner { get; init; }

    /// <summary>What was asked for, every value filled in.</summary>
    public required VideoRequest Request { get; init; }

    /// <summary>Where it is on its way.</summary>
    public VideoStatus Status { get; init; }

    /// <summary>When it was accepted.</summary>
    public DateTimeOffset CreatedAt { get; init; }

    /// <summary>When a worker began with it (the last time).</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>When it ended, well or not.</summary>
    public DateTimeOffset? CompletedAt { get; init; }

    /// <summary>Where its making is; null before it is begun.</summary>
    public VideoProgress? Progress { get; init; }

    /// <summary>Why it failed.</summary>
    public VideoError? Error { get; init; }

    /// <summary>What it became.</summary>
    public VideoResult? Result { get; init; }

    /// <summary>How often it was begun; files of it carry this number.</summary>
    public int Attempt { get; init; }

    /// <summary>Grows with every change of any job.</summary>
    public long Revision { get; init; }

    /// <summary>Its place among those that wait, from 1; null when it does not wait.</summary>
    public int? QueuePosition { get; init; }

    /// <summary>Seconds until it is done, with those before it; null when that cannot be told.</summary>
    public double? SecondsLeft { get; init; }

    /// <summary>Whether nothing will change any more.</summary>
    public bool HasEnded => Status is VideoStatus.Completed or VideoStatus.Failed;
}

/// <summary>Names of videos: <c>video_</c> and 32 hexadecimal digits that nobody can guess.</summary>
public static class VideoId
{
    private const string Prefix = "video_";
    private static readonly SearchValues<char> Digits = SearchValues.Create("0123456789abcdef");

    /// <summary>A name that is free.</summary>
    public static string New() => Prefix + Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(16));

    /// <summary>Whether a text has the form of a name.</summary>
    public static bool IsValid(string text) =>
        text.Length == Prefix.Length + 32 && text.StartsWith(Prefix, StringComparison.Ordinal) && !text.AsSpan(Prefix.Length).ContainsAnyExcept(Digits);
}

/// <summary>Where a video is on its way.</summary>
public enum VideoStatus
{
    /// <summary>Accepted; waits for a worker.</summary>
    Queued,

    /// <summary>A worker makes it.</summary>
    InProgress,

    /// <summary>Its file is there.</summary>
    Completed,

    /// <summary>It will not be made; <see cref="VideoJob.Error"/> says why.</summary>
    Failed,
}

/// <summary>Where the making of a video is.</summary>
/// <param name="Fraction">Share of the work done, 0 to 1.</param>
/// <param name="Phase">What is being done.</param>
/// <param name="Unit">Unit at work, from 0.</param>
/// <param name="Units">Number of units.</param>
/// <param name="Stage">Stage of the unit, from 0, the lowest resolution.</param>
/// <param name="Stages">Number of stages.</param>
/// <param name="Step">Steps of the stage done.</param>
/// <param name="Steps">Steps of the stage.</param>
public sealed record VideoProgress(
    double Fraction, GenerationPhase Phase, int Unit = 0, int Units = 0, int Stage = 0, int Stages = 0, int Step = 0, int Steps = 0)
{
    /// <summary>Seconds until it is done, as far as can be told; null before that.</summary>
    public double? SecondsLeft { get; init; }

    /// <summary>Number of the latest preview picture, from 1; 0 is none yet. It is read with <see cref="VideoVariant.Preview"/>.</summary>
    public int Preview { get; init; }

    /// <summary>Frames that the live stream has so far.</summary>
    public int LiveFrames { get; init; }
}

/// <summary>What a finished video is.</summary>
/// <param name="Frames">Frames of the file, given ones among them.</param>
/// <param name="Bytes">Size of the file and of all that is kept with it.</param>
/// <param name="Seconds">How long it took to make.</param>
/// <param name="Warnings">Sentences for the user, such as that the prompt was cut.</param>
public sealed record VideoResult(int Frames, long Bytes, double Seconds, IReadOnlyList<string> Warnings);

/// <summary>The owner of requests and videos: an API key, or <see cref="Local"/> when no keys are in use.</summary>
/// <param name="Name">The key's name and the first digits of its hash; a later key of the same name is another owner.</param>
public readonly record struct Owner(string Name)
{
    /// <summary>Whoever sits at this machine.</summary>
    public static Owner Local { get; } = new("local");

    /// <summary>Who is signed in; without keys everybody is <see cref="Local"/>.</summary>
    /// <param name="user">User of a request, or of the page's authentication state.</param>
    public static Owner Of(ClaimsPrincipal user) => user.Identity is { IsAuthenticated: true } && user.FindFirstValue(ClaimTypes.NameIdentifier) is { } owner ? new(owner) : Local;

    /// <inheritdoc/>
    public override string ToString() => Name;
}
