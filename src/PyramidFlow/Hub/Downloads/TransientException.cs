namespace PyramidFlow.Hub.Downloads;

/// <summary>Something that may go well the next time: a dropped connection, a busy or broken server.</summary>
/// <param name="message">What happened, without the fix.</param>
/// <param name="retryAfter">How long the server asks to wait, or null.</param>
/// <param name="inner">What was underneath, if anything.</param>
internal sealed class TransientException(string message, TimeSpan? retryAfter = null, Exception? inner = null) : Exception(message, inner)
{
    internal TimeSpan? RetryAfter { get; } = retryAfter;
}
