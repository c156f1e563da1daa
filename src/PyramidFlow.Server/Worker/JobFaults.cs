using PyramidFlow.Media;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Worker;

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

    /// <summary>The first line of what an exception says, without the runtime's additions.</summary>
    public static string Sentence(Exception fault)
    {
        var message = fault is ArgumentException { ParamName: { } parameter } ? fault.Message.Replace($" (Parameter '{parameter}')", "", StringComparison.Ordinal) : fault.Message;
        return message.Split('\n', 2)[0].Trim();
    }
}
