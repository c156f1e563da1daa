namespace PyramidFlow.Training.Data;

/// <summary>Training data that cannot be used; the message names the file, the line where there is one, and what would do.</summary>
public sealed class DataException : Exception
{
    /// <summary>With one sentence for the user.</summary>
    public DataException(string message)
        : base(message)
    {
    }

    /// <summary>With one sentence for the user and the fault below it.</summary>
    public DataException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
