using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>Owners take turns: the next job is the oldest one of the owner whose last lease is the longest ago, so that many jobs of one owner keep no other waiting.</summary>
internal static class FairTurns
{
    /// <summary>Queued jobs in the order in which one worker that can make all of them leases them.</summary>
    /// <param name="waiting">Queued jobs, the oldest first.</param>
    public static IEnumerable<QueueEntry> Order(IEnumerable<QueueEntry> waiting)
    {
        var (owners, turns, last) = (new Dictionary<Owner, Queue<QueueEntry>>(), new PriorityQueue<Queue<QueueEntry>, (long Served, int Age)>(), 0L);
        foreach (var (age, job) in waiting.Index())
        {
            if (!owners.TryGetValue(job.Owner, out var own))
                turns.Enqueue(owners[job.Owner] = own = [], (job.Served, age));
            own.Enqueue(job);
            last = Math.Max(last, job.Served);
        }

        while (turns.TryDequeue(out var own, out _))
        {
            yield return own.Dequeue();
            if (own.Count > 0)
                turns.Enqueue(own, (++last, 0));
        }
    }
}
