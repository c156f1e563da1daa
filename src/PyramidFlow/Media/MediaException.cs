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
