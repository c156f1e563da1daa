namespace PyramidFlow.Server.Domain;

/// <summary>Kinds of fault a user can meet.</summary>
public enum JobFault
{
    /// <summary>A value is impossible.</summary>
    Invalid,

    /// <summary>There is no such video (of this owner).</summary>
    NotFound,

    /// <summary>It is not so far yet, or no more.</summary>
    NotReady,

    /// <summary>An upload is larger than allowed.</summary>
    TooLarge,

    /// <summary>An upload is of no kind that can be read.</summary>
    Unsupported,

    /// <summary>The owner has as many videos under way as allowed.</summary>
    TooMany,

    /// <summary>The owner has asked for as many videos in a minute as allowed.</summary>
    RateLimit,

    /// <summary>The key that the owner came in with was taken away.</summary>
    NoKey,

    /// <summary>An idempotency key was used for something else.</summary>
    Conflict,

    /// <summary>Disk or database cannot be used just now.</summary>
    Unavailable,
}

/// <summary>A request that cannot be met; the message is one sentence for the user, with the fix.</summary>
public sealed class JobException : Exception
{
    /// <summary>With one sentence for the user.</summary>
    /// <param name="fault">Its kind.</param>
    /// <param name="message">The sentence.</param>
    /// <param name="inner">What lies behind it.</param>
    public JobException(JobFault fault, string message, Exception? inner = null)
        : base(message, inner) => Fault = fault;

    /// <summary>Its kind.</summary>
    public JobFault Fault { get; }

    /// <summary>The parameter at fault, as REST names it; null when it is none.</summary>
    public string? Parameter { get; init; }

    /// <summary>After how many seconds it may be tried again; null when that cannot be told.</summary>
    public int? RetryAfterSeconds { get; init; }
}
