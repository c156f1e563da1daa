namespace PyramidFlow.Training.Loop;

/// <summary>A training that cannot go on; the message says why and what would do.</summary>
public sealed class TrainingException : Exception
{
    /// <summary>With the whole sentence.</summary>
    public TrainingException(string message)
        : base(message)
    {
    }

    /// <summary>With the whole sentence and what lies behind it.</summary>
    public TrainingException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
