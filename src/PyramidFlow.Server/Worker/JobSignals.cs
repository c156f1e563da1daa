namespace PyramidFlow.Server.Worker;

/// <summary>
/// Tells the parts of one process that something in the queue may have changed, so that they need not wait for their next
/// look. Losing a signal costs a moment; the queue itself is in the database.
/// </summary>
internal sealed class JobSignals
{
    private TaskCompletionSource next = New();

    /// <summary>Wakes all that wait.</summary>
    public void Changed() => Interlocked.Exchange(ref next, New()).TrySetResult();

    /// <summary>Completes at the next change.</summary>
    public Task Next => Volatile.Read(ref next).Task;

    /// <summary>Waits for a change, but no longer than so long.</summary>
    /// <param name="signal">A <see cref="Next"/> that was taken before one looked.</param>
    /// <param name="most">How long.</param>
    /// <param name="cancel">Ends the wait.</param>
    public static async Task WaitAsync(Task signal, TimeSpan most, CancellationToken cancel)
    {
        var pause = Task.Delay(most, cancel);
        await Task.WhenAny(signal, pause).ConfigureAwait(false);
        cancel.ThrowIfCancellationRequested();
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
