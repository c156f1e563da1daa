using PyramidFlow.Torch;

namespace PyramidFlow.Server.Domain;

/// <summary>Kinds of refused requests. REST answers each kind with one HTTP status and names it in <c>error.code</c>, in snake case.</summary>
internal enum JobFaultKind
{
    /// <summary>A value is invalid.</summary>
    Invalid,

    /// <summary>The request or its body is not well-formed.</summary>
    Malformed,

    /// <summary>A request needs a key, or the key of the owner was removed.</summary>
    NoKey,

    /// <summary>The request came from a page of another site.</summary>
    WrongOrigin,

    /// <summary>The owner has no such video, or there is nothing at this address.</summary>
    NotFound,

    /// <summary>The address does not know the method.</summary>
    MethodNotAllowed,

    /// <summary>The request came too slowly.</summary>
    TooSlow,

    /// <summary>The video is not in the required state.</summary>
    NotReady,

    /// <summary>A request or an upload is larger than allowed.</summary>
    TooLarge,

    /// <summary>The format of a request or an upload is not supported.</summary>
    Unsupported,

    /// <summary>The range asked for lies beyond the end of a file.</summary>
    Range,

    /// <summary>The service does not answer to the host name of the request.</summary>
    WrongHost,

    /// <summary>An idempotency key was used for another request.</summary>
    Conflict,

    /// <summary>The owner has the maximum number of active videos.</summary>
    TooMany,

    /// <summary>The maximum number of requests in a minute is reached.</summary>
    RateLimit,

    /// <summary>The framework refused the request for a reason of its own.</summary>
    Refused,

    /// <summary>The program has a fault.</summary>
    Internal,

    /// <summary>The service cannot answer at the moment.</summary>
    Unavailable,

    /// <summary>The disk is full or cannot be written.</summary>
    Storage,
}

/// <summary>A request that cannot be fulfilled, by REST or the page.</summary>
internal sealed class JobException : PyramidFlowException
{
    /// <summary>Creates the error.</summary>
    /// <param name="kind">Kind of the refusal.</param>
    /// <param name="code">Stable name of the cause, such as <c>video_unknown</c>; that of the inner exception where that is the cause.</param>
    /// <param name="message">One sentence for the user.</param>
    /// <param name="inner">The cause, or null.</param>
    /// <param name="parameters">The values that the sentence is about. Clients see them: no paths of this machine, no secrets.</param>
    internal JobException(JobFaultKind kind, string code, string message, Exception? inner = null, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, message, inner, parameters) => Kind = kind;

    /// <summary>Kind of the refusal.</summary>
    public JobFaultKind Kind { get; }

    /// <summary>Field, query parameter or header at fault, by its name in REST; null when there is none.</summary>
    public string? Field { get; init; }

    /// <summary>Seconds after which a retry may succeed; null when unknown.</summary>
    public int? RetryAfterSeconds { get; init; }

    /// <summary>The HTTP status where the framework has chosen it; null where it follows from the kind.</summary>
    public int? HttpStatus { get; init; }
}

/// <summary>The service, its queue or its keys cannot be used: a folder, a database or a file is at fault.</summary>
public sealed class ServiceException : PyramidFlowException
{
    /// <summary>Creates the error.</summary>
    internal ServiceException(string code, string message, Exception? inner, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, message, inner, parameters)
    {
    }
}

/// <summary>An option of the service, or the name of a key, is impossible.</summary>
public sealed class ServiceOptionException : PyramidFlowException
{
    /// <summary>Creates the error.</summary>
    internal ServiceOptionException(string code, string message, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, message, null, parameters)
    {
    }
}

/// <summary>The reason for a failed video.</summary>
/// <param name="Code">Kind of the failure, such as cancelled or storage.</param>
/// <param name="Message">One sentence for people.</param>
internal sealed record VideoError(string Code, string Message)
{
    /// <summary>The user cancelled the video.</summary>
    public const string Cancelled = "cancelled";

    /// <summary>The worker died in every attempt.</summary>
    public const string Abandoned = "worker_died";

    /// <summary>The request turned out to be impossible.</summary>
    public const string Invalid = "invalid_request";

    /// <summary>The disk is full or the folder cannot be written.</summary>
    public const string Storage = "storage";

    /// <summary>The queue entry of this video is damaged or of a newer version.</summary>
    public const string Unreadable = "unreadable";

    /// <summary>Any other fault of the service.</summary>
    public const string Internal = "generation_failed";

    /// <summary>Stable name of the cause, such as size_not_multiple; null where the cause has none.</summary>
    public string? Reason { get; init; }
}
