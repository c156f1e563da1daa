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
