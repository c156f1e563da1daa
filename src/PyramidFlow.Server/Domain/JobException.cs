using PyramidFlow.Media;
using PyramidFlow.Torch.Checkpoints;

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

/// <summary>What a job's owner is told of an exception, and whether another try may help.</summary>
internal static class JobFaults
{
    public static (VideoError Error, bool Retry) Of(Exception fault) => fault switch
    {
        ArgumentException argument when UserFault.Is(argument) => (new(VideoError.Invalid, Sentence(fault)), false),
        JobException => (new(VideoError.Invalid, fault.Message), false),
        NonFiniteException or CheckpointException { InnerException: NonFiniteException } =>
            (new(VideoError.Internal, "the model gave numbers of which no picture can be made; whoever runs this service finds more in its log"), false),
        // A folder that was away for a moment is back at the next try.
        CheckpointException => (new(VideoError.Internal, "the model cannot be loaded: its files are damaged or incomplete; whoever runs this service finds more in its log"), true),
        // Paths of this machine are nothing for users; the log has them.
        MediaException or IOException or UnauthorizedAccessException => (new(VideoError.Storage, "the video could not be encoded or written: the disk may be full"), true),
        _ => (new(VideoError.Internal, "the video could not be made because of a fault in this program; whoever runs this service finds more in its log"), true),
    };

    /// <summary>A message as a sentence: it begins with a capital and ends with a full stop.</summary>
    public static string FullSentence(string message)
    {
        message = message.Trim();
        if (message.Length == 0)
            return message;
        var end = message[^1] is '.' or '!' or '?' ? "" : ".";
        return char.ToUpperInvariant(message[0]) + message[1..] + end;
    }

    /// <summary>The first line of what an exception says, without the runtime's additions.</summary>
    public static string Sentence(Exception fault)
    {
        var message = fault is ArgumentException { ParamName: { } parameter } ? fault.Message.Replace($" (Parameter '{parameter}')", "", StringComparison.Ordinal) : fault.Message;
        return message.Split('\n', 2)[0].Trim();
    }
}

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
