using System.Collections.Concurrent;

namespace PyramidFlow.Tests.Hub.Downloads;

/// <summary>A clock on which every wait is over at once and is remembered; watches for stalls go off only when told.</summary>
internal sealed class InstantTime : TimeProvider
{
    /// <summary>How long a connection may stand still; no wait may be as long.</summary>
    public static readonly TimeSpan Stall = TimeSpan.FromSeconds(61);

    private readonly ConcurrentBag<(TimerCallback Callback, object? State)> watches = [];

    public ConcurrentQueue<TimeSpan> Waits { get; } = [];

    public static DateTimeOffset Now { get; } = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    public override DateTimeOffset GetUtcNow() => Now;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        if (dueTime == Stall)
        {
            watches.Add((callback, state));
            return new Timer();
        }

        Waits.Enqueue(dueTime);
        ThreadPool.QueueUserWorkItem(_ => callback(state));
        return new Timer();
    }

    /// <summary>Lets all connections count as standing still.</summary>
    public void StallNow()
    {
        foreach (var (callback, state) in watches)
        {
            try
            {
                callback(state);
            }
            catch (ObjectDisposedException)
            {
                // A watch that had ended.
            }
        }
    }

    private sealed class Timer : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period) => true;

        public void Dispose()
        {
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
