namespace PyramidFlow.Media;

/// <summary>A picture or video could not be read or written. The message tells the reason and the fix.</summary>
public sealed class MediaException : Exception
{
    /// <summary>Creates the error with one sentence for the user.</summary>
    public MediaException(string message)
        : base(message)
    {
    }

    /// <summary>Creates the error with one sentence for the user and its cause.</summary>
    public MediaException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

/// <summary>Creates errors about pictures and videos that could not be written.</summary>
internal static class WriteFailure
{
    private const string NoSpace = "No space left on device";

    /// <summary>Creates the error from the error output of an encoder.</summary>
    /// <param name="target">Path, or name of the stream.</param>
    /// <param name="errors">Error output of the encoder.</param>
    public static MediaException Create(string target, ErrorOutput errors)
    {
        if (errors.Contains(NoSpace))
            return DiskFull(target);
        return errors.Contains("Unknown encoder")
            ? new MediaException("this ffmpeg was built without libx264: install another with 'apt install ffmpeg' or set PYRAMIDFLOW_FFMPEG")
            : new MediaException($"ffmpeg could not write {target}: {errors}");
    }

    /// <summary>Creates the error from a failed write.</summary>
    /// <param name="target">Path, or name of the stream.</param>
    /// <param name="error">Exception of the write.</param>
    public static MediaException Create(string target, Exception error) => IsDiskFull(error)
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
