namespace PyramidFlow.Tests;

/// <summary>Progress on the thread that reports it, in order.</summary>
/// <param name="then">Called at each report.</param>
internal sealed class Reports<T>(Action<T>? then = null) : IProgress<T>
{
    internal List<T> All { get; } = [];

    public void Report(T value)
    {
        All.Add(value);
        then?.Invoke(value);
    }
}
