using System.Collections.Concurrent;

namespace PyramidFlow.Training.Data;

/// <summary>Loads batches in the background, a limited number of steps ahead.</summary>
/// <typeparam name="TItem">Type of a loaded item.</typeparam>
/// <typeparam name="TBatch">Type of a batch.</typeparam>
/// <param name="plan">The plan of all batches.</param>
/// <param name="loader">Loads the items; disposed with this source.</param>
/// <param name="faults">Records bad items.</param>
/// <param name="ahead">Number of steps to prefetch, from 0.</param>
/// <param name="collate">Makes a batch from its items, on the caller's thread.</param>
internal sealed class PrefetchingSource<TItem, TBatch>(BatchPlan plan, ItemLoader<TItem> loader, FaultLog faults, int ahead,
    Func<Bucket, IReadOnlyList<(DataItem Item, TItem Content)>, TBatch> collate) : IBatchSource<TBatch>
{
    private readonly CancellationTokenSource closing = new();
    private readonly Dictionary<long, (Bucket Bucket, Task<(DataItem Item, TItem Content)[]> Items, CancellationTokenSource Unwanted)> reading = [];

    /// <inheritdoc/>
    public BatchPlan Plan => plan;

    /// <inheritdoc/>
    public FaultLog Faults => faults;

    /// <inheritdoc/>
    public TBatch Batch(long step, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
        var last = step + ((long)ahead * plan.Stride);
        foreach (var far in reading.Keys.Where(other => other < step || other > last || (other - step) % plan.Stride != 0).ToList())
            Drop(far);
        for (var next = step; next <= last; next += plan.Stride)
        {
            if (!reading.ContainsKey(next))
                Begin(next);
        }

        var (bucket, items, _) = reading[step];
        (DataItem, TItem)[] loaded;
        try
        {
            loaded = items.WaitAsync(cancellationToken).GetAwaiter().GetResult();
        }
        finally
        {
            if (items.IsCompleted)
                Drop(step);
        }

        return collate(bucket, loaded);
    }

    /// <summary>Cancels all loader and waits for its end.</summary>
    public void Dispose()
    {
        closing.Cancel();
        Task[] running = [.. reading.Values.Select(batch => batch.Items)];
        foreach (var step in reading.Keys.ToList())
            Drop(step);
        // Errors of batches that nobody asked for are dropped.
        Task.WhenAll(running).ContinueWith(_ => { }, TaskScheduler.Default).Wait();
        closing.Dispose();
        loader.Dispose();
    }

    private void Begin(long step)
    {
        var planned = plan.Batch(step);
        var unwanted = CancellationTokenSource.CreateLinkedTokenSource(closing.Token);
        var token = unwanted.Token;
        reading[step] = (planned.Bucket, Task.Run(() => loader.LoadAsync(planned, token), token), unwanted);
    }

    private void Drop(long step)
    {
        if (!reading.Remove(step, out var batch))
            return;
        batch.Unwanted.Cancel();
        batch.Items.ContinueWith(_ => batch.Unwanted.Dispose(), TaskScheduler.Default);
    }
}

/// <summary>Loads the items of planned batches in parallel. A bad item, or one whose file is another than the scanned one, is recorded and replaced by the next item of the plan.</summary>
/// <typeparam name="TItem">Type of a loaded item; holds no native memory.</typeparam>
/// <param name="load">Loads an item, with random numbers of its own.</param>
/// <param name="faults">Records bad items.</param>
/// <param name="workers">Number of items to load in parallel.</param>
internal sealed class ItemLoader<TItem>(Func<DataItem, KeyedRandom, CancellationToken, Task<TItem>> load, FaultLog faults, int workers) : IDisposable
{
    // If one item in ten is good, a run of this many bad ones has a probability of 10^-45.
    private const int MostAttempts = 1000;

    private readonly SemaphoreSlim free = new(workers);
    private readonly ConcurrentDictionary<DataItem, bool> bad = new(ReferenceEqualityComparer.Instance);
    private readonly ConcurrentDictionary<Bucket, int> badInBucket = new();

    /// <summary>Loads the items of a batch, in its order.</summary>
    /// <exception cref="TrainingException">Nearly all items of the bucket are bad.</exception>
    public Task<(DataItem Item, TItem Content)[]> LoadAsync(PlannedBatch batch, CancellationToken cancellationToken) =>
        Task.WhenAll(Enumerable.Range(0, batch.Size).Select(slot => LoadAsync(batch, slot, cancellationToken)));

    public void Dispose() => free.Dispose();

    private async Task<(DataItem Item, TItem Content)> LoadAsync(PlannedBatch batch, int slot, CancellationToken cancellationToken)
    {
        for (var attempt = 0; attempt < MostAttempts; attempt++)
        {
            var item = batch.Item(slot, attempt);
            if (bad.ContainsKey(item))
                continue;
            await free.WaitAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                var content = await load(item, batch.Draws(slot), cancellationToken).ConfigureAwait(false);
                ItemFile.RequireUnchanged(item);
                return (item, content);
            }
            catch (BadItemException e)
            {
                Record(batch, item, e);
            }
            finally
            {
                free.Release();
            }
        }

        throw TooMany(batch);
    }

    private void Record(PlannedBatch batch, DataItem item, BadItemException e)
    {
        int count;
        lock (badInBucket)
        {
            if (bad.ContainsKey(item))
                return;
            faults.Add(e.Fault(item.Annotation));
            badInBucket[batch.Bucket] = count = badInBucket.GetValueOrDefault(batch.Bucket) + 1;
            // Set last: other threads read it without the lock, and the fault must be recorded by then.
            bad[item] = true;
        }

        if (BadShare.IsTooMuch(count, batch.BucketCount))
            throw TooMany(batch);
    }

    private TrainingException TooMany(PlannedBatch batch)
    {
        var last = faults.Faults[^1];
        return TrainingFault.TooManyBadOfBucket(badInBucket.GetValueOrDefault(batch.Bucket), batch.BucketCount, batch.Bucket.ToString(), last.ToString(), last.Error);
    }
}
