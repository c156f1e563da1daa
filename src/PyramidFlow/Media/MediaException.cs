namespace PyramidFlow.Media;

/// <summary>A picture or video could not be read or written; the message says why and what to do.</summary>
public sealed class MediaException : Exception
{
    /// <summary>With one sentence for the user.</summary>
    public MediaException(string message)
        : base(message)
    {
    }

    /// <summary>With one sentence for the user and the fault below it.</summary>
    public MediaException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

/// <summary>Why a picture or video could not be written, in the user's words.</summary>
internal static class WriteFailure
{
    private const string NoSpace = "No space left on device";

    /// <summary>From what an encoder said.</summary>
    /// <param name="target">What was written: a path or the name of a stream.</param>
    /// <param name="errors">The encoder's last words.</param>
    public static MediaException Of(string target, LastLines errors)
    {
        if (errors.Contains(NoSpace))
            return DiskFull(target);
        return errors.Contains("Unknown encoder")
            ? new MediaException("this ffmpeg was built without libx264: install another with 'apt install ffmpeg' or set PYRAMIDFLOW_FFMPEG")
            : new MediaException($"ffmpeg could not write {target}: {errors}");
    }

    /// <summary>From a failed write of our own.</summary>
    /// <param name="target">What was written: a path or the name of a stream.</param>
    /// <param name="error">What the system said.</param>
    public static MediaException Of(string target, Exception error) => IsDiskFull(error)
        ? DiskFull(target, error)
        : new MediaException($"cannot write {target}: {error.Message}", error);

    public static bool IsDiskFull(Exception error) => error.Message.Contains(NoSpace, StringComparison.Ordinal);

    private static MediaException DiskFull(string target, Exception? error = null)
    {
        var folder = Path.GetDirectoryName(target);
        var message = "the disk is full: free some space"
            + (string.IsNullOrEmpty(folder) ? $" where {target} goes" : $" in {folder}") + " or write to another folder";
        return error is null ? new MediaException(message) : new MediaException(message, error);
    }
}
