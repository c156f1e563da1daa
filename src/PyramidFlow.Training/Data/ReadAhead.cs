namespace PyramidFlow.Training.Data;

/// <summary>Reads batches in the background, a few steps ahead and no more.</summary>
/// <typeparam name="TItem">A loaded item.</typeparam>
/// <typeparam name="TBatch">A batch.</typeparam>
/// <param name="plan">What every step has.</param>
/// <param name="loading">Loads items; disposed with this.</param>
/// <param name="faults">Where bad items are recorded.</param>
/// <param name="ahead">Steps to read ahead, from 0.</param>
/// <param name="collate">Makes a batch of its items, on the caller's thread.</param>
internal sealed class ReadAhead<TItem, TBatch>(BatchPlan plan, ItemLoading<TItem> loading, FaultLog faults, int ahead,
    Func<Bucket, IReadOnlyList<(DataItem Item, TItem Content)>, TBatch> collate) : IBatchSource<TBatch>
{
    private readonly CancellationTokenSource closing = new();
    private readonly Dictionary<long, (Bucket Bucket, Task<(DataItem Item, TItem Content)[]> Items, CancellationTokenSource Unwanted)> reading = [];

    /// <inheritdoc/>
    public BatchPlan Plan => plan;

    /// <inheritdoc/>
    public FaultLog Faults => faults;

    /// <inheritdoc/>
    public TBatch Batch(long step, CancellationToken cancel = default)
    {
        ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
        foreach (var far in reading.Keys.Where(other => other < step || other > step + ahead).ToList())
            Drop(far);
        for (var next = step; next <= step + ahead; next++)
        {
            if (!reading.ContainsKey(next))
                Begin(next);
        }

        var (bucket, items, _) = reading[step];
        (DataItem, TItem)[] loaded;
        try
        {
            loaded = items.WaitAsync(cancel).GetAwaiter().GetResult();
        }
        finally
        {
            if (items.IsCompleted)
                Drop(step);
        }

        return collate(bucket, loaded);
    }

    /// <summary>Stops all reading, and waits for it.</summary>
    public void Dispose()
    {
        closing.Cancel();
        Task[] running = [.. reading.Values.Select(batch => batch.Items)];
        foreach (var step in reading.Keys.ToList())
            Drop(step);
        // What they end with was of no batch that anybody asked for.
        Task.WhenAll(running).ContinueWith(_ => { }, TaskScheduler.Default).Wait();
        closing.Dispose();
        loading.Dispose();
    }

    private void Begin(long step)
    {
        var planned = plan.Batch(step);
        var unwanted = CancellationTokenSource.CreateLinkedTokenSource(closing.Token);
        var token = unwanted.Token;
        reading[step] = (planned.Bucket, Task.Run(() => loading.LoadAsync(planned, token), token), unwanted);
    }

    private void Drop(long step)
    {
        if (!reading.Remove(step, out var batch))
            return;
        batch.Unwanted.Cancel();
        batch.Items.ContinueWith(_ => batch.Unwanted.Dispose(), TaskScheduler.Default);
    }
}
