using PyramidFlow.Media;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Domain;

/// <summary>Kinds of faults that users can meet.</summary>
internal enum JobFault
{
    /// <summary>A value is invalid.</summary>
    Invalid,

    /// <summary>The owner has no such video.</summary>
    NotFound,

    /// <summary>The video is not in the required state.</summary>
    NotReady,

    /// <summary>An upload is larger than allowed.</summary>
    TooLarge,

    /// <summary>The format of an upload is not supported.</summary>
    Unsupported,

    /// <summary>The owner has the maximum number of active videos.</summary>
    TooMany,

    /// <summary>The owner has made the maximum number of requests in a minute.</summary>
    RateLimit,

    /// <summary>The key of the owner was removed.</summary>
    NoKey,

    /// <summary>An idempotency key was used for another request.</summary>
    Conflict,

    /// <summary>Disk or database is not available at the moment.</summary>
    Unavailable,
}

/// <summary>A request that cannot be fulfilled; the message is one sentence for the user that names a fix.</summary>
internal sealed class JobException : Exception
{
    /// <summary>Creates an exception with one sentence for the user.</summary>
    /// <param name="fault">Kind of the fault.</param>
    /// <param name="message">The sentence.</param>
    /// <param name="inner">The cause.</param>
    public JobException(JobFault fault, string message, Exception? inner = null)
        : base(message, inner) => Fault = fault;

    /// <summary>Kind of the fault.</summary>
    public JobFault Fault { get; }

    /// <summary>The REST parameter at fault; null when there is none.</summary>
    public string? Parameter { get; init; }

    /// <summary>Seconds after which a retry may succeed; null when unknown.</summary>
    public int? RetryAfterSeconds { get; init; }
}

/// <summary>Maps exceptions of a job to the error that its owner sees, and to whether a retry may help.</summary>
internal static class JobFaults
{
    public static (VideoError Error, bool Retry) ToError(Exception fault) => fault switch
    {
        ArgumentException argument when UserFault.Is(argument) => (new(VideoError.Invalid, Sentence(fault)), false),
        JobException or RequestException => (new(VideoError.Invalid, fault.Message), false),
        NonFiniteException or CheckpointException { Code: CheckpointFault.WeightNotFiniteCode } =>
            (new(VideoError.Internal, "the model gave numbers of which no picture can be made; whoever runs this service finds more in its log"), false),
        // A folder that was unavailable for a moment may be back at the next attempt.
        CheckpointException => (new(VideoError.Internal, "the model cannot be loaded: its files are damaged or incomplete; whoever runs this service finds more in its log"), true),
        // Users must not see paths of this machine; the log has them.
        MediaException or IOException or UnauthorizedAccessException => (new(VideoError.Storage, "the video could not be encoded or written: the disk may be full"), true),
        _ => (new(VideoError.Internal, "the video could not be made because of a fault in this program; whoever runs this service finds more in its log"), true),
    };

    /// <summary>Formats a message as a sentence with a capital letter and a full stop.</summary>
    public static string FullSentence(string message)
    {
        message = message.Trim();
        if (message.Length == 0)
            return message;
        var end = message[^1] is '.' or '!' or '?' ? "" : ".";
        return char.ToUpperInvariant(message[0]) + message[1..] + end;
    }

    /// <summary>Returns the first line of an exception's message, without additions of the runtime.</summary>
    public static string Sentence(Exception fault)
    {
        var message = fault is ArgumentException { ParamName: { } parameter } ? fault.Message.Replace($" (Parameter '{parameter}')", "", StringComparison.Ordinal) : fault.Message;
        return message.Split('\n', 2)[0].Trim();
    }
}

/// <summary>The reason for a failed video.</summary>
/// <param name="Code">Code for programs, such as <see cref="Cancelled"/>.</param>
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
}
