namespace PyramidFlow.Hub.Downloads;

/// <summary>A model hub refused, failed or sent something unfit; the message is one sentence with the fix.</summary>
public sealed class HubException : IOException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">One sentence for the user.</param>
    /// <param name="inner">What was underneath, if anything.</param>
    public HubException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
