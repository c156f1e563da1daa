using System.Collections.Concurrent;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Reads what changed in the queue, once for all who watch in this process, and tells them. Changes of this process come at
/// once, those of others within a fifth of a second.
/// </summary>
internal sealed class JobFeed(IJobStore store, JobSignals signals, BackgroundHealth health, ILogger<JobFeed> log)
    : BackgroundLoop("news of the queue", health, log)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200), Least = TimeSpan.FromMilliseconds(25);
    private readonly ConcurrentDictionary<JobWatcher, byte> watchers = [];
    private readonly ConcurrentDictionary<string, VideoJob> waiting = [];
    private volatile QueueView queue = new([], []);
    private long? seen;

    /// <summary>The queue as it was last seen.</summary>
    public QueueView Queue => queue;

    /// <summary>How many entries of the queue cannot be read and were set aside, as it was last seen.</summary>
    public int Unreadable { get; private set; }

    /// <summary>How many watch.</summary>
    public int Watchers => watchers.Count;

    /// <summary>Begins to tell a watcher; disposing the result ends it.</summary>
    public IDisposable Add(JobWatcher watcher)
    {
        watchers[watcher] = 0;
        return new Subscription(this, watcher);
    }

    /// <summary>A job with its place in the queue.</summary>
    public async Task<VideoJob> PlaceAsync(VideoJob job, CancellationToken cancel)
    {
        if (job.Status == VideoStatus.Queued)
        {
            if (!queue.Has(job.Id))
                await RefreshAsync(cancel).ConfigureAwait(false);
            // Whoever asks may watch it, and is to hear when it moves up.
            waiting[job.Id] = job;
        }

        return queue.Place(job);
    }

    protected override async Task TurnAsync(CancellationToken stop)
    {
        var signal = signals.Next;
        seen = seen is { } last ? await ReadAsync(last, stop).ConfigureAwait(false) : await BeginAsync(stop).ConfigureAwait(false);
        Works();
        await Task.Delay(Least, stop).ConfigureAwait(false);
        await JobSignals.WaitAsync(signal, Look, stop).ConfigureAwait(false);
    }

    private async Task<long> BeginAsync(CancellationToken cancel)
    {
        var revision = await store.RevisionAsync(cancel).ConfigureAwait(false);
        await RefreshAsync(cancel).ConfigureAwait(false);
        return revision;
    }

    private async Task<long> ReadAsync(long seen, CancellationToken cancel)
    {
        var latest = await store.RevisionAsync(cancel).ConfigureAwait(false);
        if (latest == seen)
            return seen;
        var changes = await store.ChangesAsync(seen, cancel).ConfigureAwait(false);
        // Progress of one job moves no other.
        if (changes.Any(change => change.Job is not { Status: VideoStatus.InProgress, Progress: not null }))
            await RefreshAsync(cancel).ConfigureAwait(false);
        foreach (var (id, owner, revision, job) in changes)
        {
            if (job is { Status: VideoStatus.Queued })
                waiting[id] = job;
            else
                waiting.TryRemove(id, out _);
            Tell(owner, id, job);
            seen = Math.Max(seen, revision);
        }

        // Whatever was left out is not looked for again until it changes.
        return Math.Max(seen, latest);
    }

    private async Task RefreshAsync(CancellationToken cancel)
    {
        var before = queue;
        Unreadable = (await store.UnreadableAsync(cancel).ConfigureAwait(false)).Count;
        queue = new QueueView(await store.QueueAsync(cancel).ConfigureAwait(false), await store.PaceAsync(cancel).ConfigureAwait(false));
        foreach (var (id, job) in waiting)
        {
            if (!queue.Has(id))
                waiting.TryRemove(id, out _);
            else if (before.Place(job).QueuePosition != queue.Place(job).QueuePosition)
                Tell(job.Owner, id, job);
        }
    }

    private void Tell(Owner owner, string id, VideoJob? job)
    {
        var change = new JobChange(id, job is null ? null : queue.Place(job));
        foreach (var watcher in watchers.Keys)
            watcher.Tell(owner, change);
    }

    private sealed class Subscription(JobFeed feed, JobWatcher watcher) : IDisposable
    {
        public void Dispose() => feed.watchers.TryRemove(watcher, out _);
    }
}
