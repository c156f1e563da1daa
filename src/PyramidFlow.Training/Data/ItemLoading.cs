using System.Collections.Concurrent;
using PyramidFlow.Training.Sprites;

namespace PyramidFlow.Training.Data;

/// <summary>
/// Loads the items of planned batches, so many at a time. What cannot be used is recorded, and the place goes to the next
/// item of the plan.
/// </summary>
/// <typeparam name="TItem">A loaded item; holds no native memory.</typeparam>
/// <param name="load">Loads one item, with draws of its own.</param>
/// <param name="faults">Told about bad items.</param>
/// <param name="workers">How many at a time.</param>
internal sealed class ItemLoading<TItem>(Func<DataItem, SpriteRandom, CancellationToken, Task<TItem>> load, FaultLog faults, int workers) : IDisposable
{
    // Where one item in ten is good, this many bad ones in a row come once in 10^45.
    private const int MostAttempts = 1000;

    private readonly SemaphoreSlim free = new(workers);
    private readonly ConcurrentDictionary<DataItem, bool> bad = new(ReferenceEqualityComparer.Instance);
    private readonly ConcurrentDictionary<Bucket, int> badInBucket = new();

    /// <summary>The items of a batch, in its order.</summary>
    /// <exception cref="DataException">(Nearly) all items of the bucket are bad.</exception>
    public Task<(DataItem Item, TItem Content)[]> LoadAsync(PlannedBatch batch, CancellationToken cancel) =>
        Task.WhenAll(Enumerable.Range(0, batch.Size).Select(slot => LoadAsync(batch, slot, cancel)));

    public void Dispose() => free.Dispose();

    private async Task<(DataItem Item, TItem Content)> LoadAsync(PlannedBatch batch, int slot, CancellationToken cancel)
    {
        for (var attempt = 0; attempt < MostAttempts; attempt++)
        {
            var item = batch.Item(slot, attempt);
            if (bad.ContainsKey(item))
                continue;
            await free.WaitAsync(cancel).ConfigureAwait(false);
            try
            {
                return (item, await load(item, batch.Draws(slot), cancel).ConfigureAwait(false));
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
            // Last, for others look at it without the lock and may end the run by it, with what was recorded.
            bad[item] = true;
        }

        if (BadShare.IsTooMuch(count, batch.BucketCount))
            throw TooMany(batch);
    }

    private DataException TooMany(PlannedBatch batch) => new(
        $"{badInBucket.GetValueOrDefault(batch.Bucket)} of the {batch.BucketCount} items of {batch.Bucket} cannot be used, the last because {faults.Faults[^1]}: look with data check");
}
