namespace PyramidFlow.Server.Domain;

/// <summary>Why a video was not made.</summary>
/// <param name="Code">For programs, such as <see cref="Cancelled"/>.</param>
/// <param name="Message">One sentence for people.</param>
public sealed record VideoError(string Code, string Message)
{
    /// <summary>The user stopped it.</summary>
    public const string Cancelled = "cancelled";

    /// <summary>The worker died each time it was tried.</summary>
    public const string Abandoned = "worker_died";

    /// <summary>What was asked for cannot be made after all.</summary>
    public const string Invalid = "invalid_request";

    /// <summary>The disk is full or the folder cannot be written.</summary>
    public const string Storage = "storage";

    /// <summary>Its entry in the queue is damaged or of a newer version; nobody else's video is.</summary>
    public const string Unreadable = "unreadable";

    /// <summary>Anything else that went wrong on this side.</summary>
    public const string Internal = "generation_failed";
}
