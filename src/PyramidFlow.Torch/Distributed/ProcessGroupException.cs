namespace PyramidFlow.Torch.Distributed;

/// <summary>Processes that cannot work together any more; the message says which and what would do.</summary>
public sealed class ProcessGroupException : Exception
{
    /// <summary>With the whole sentence.</summary>
    public ProcessGroupException(string message)
        : base(message)
    {
    }

    /// <summary>With the whole sentence and what lies behind it.</summary>
    public ProcessGroupException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
