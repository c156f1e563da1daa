using System.Collections.Concurrent;
using System.Threading.Channels;
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

/// <summary>
/// Somebody who wants to hear of changes. Of each job only the latest state is kept for a slow reader, so that one who
/// never reads costs no more than the jobs there are.
/// </summary>
/// <param name="owner">Whose jobs.</param>
/// <param name="id">Which job; null is all of the owner's.</param>
internal sealed class JobWatcher(Owner owner, string? id)
{
    private readonly Lock gate = new();
    private readonly Channel<bool> ready = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private Dictionary<string, JobChange> pending = [];

    /// <summary>The one job it asks for; null is all.</summary>
    public string? Id { get; } = id;

    /// <summary>A job changed.</summary>
    public void Tell(Owner whose, JobChange change)
    {
        if (whose != owner || (Id is not null && Id != change.Id))
            return;
        lock (gate)
            pending[change.Id] = change;
        ready.Writer.TryWrite(true);
    }

    /// <summary>Waits for changes and gives them; at least one.</summary>
    public async Task<IReadOnlyList<JobChange>> NextAsync(CancellationToken cancel)
    {
        while (true)
        {
            await ready.Reader.ReadAsync(cancel).ConfigureAwait(false);
            lock (gate)
            {
                // What woke us may have been taken already, together with what came before it.
                if (pending.Count == 0)
                    continue;
                var changes = pending;
                pending = [];
                return [.. changes.Values];
            }
        }
    }
}

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

/// <summary>The queue at one moment: who waits behind whom, and about how long.</summary>
internal sealed class QueueView
{
    private readonly Dictionary<string, (int Position, double? Seconds)> waiting = [];

    /// <param name="entries">What waits and runs, in order.</param>
    /// <param name="pace">Work and seconds of the videos finished last.</param>
    public QueueView(IReadOnlyList<QueueEntry> entries, IReadOnlyList<(double Work, double Seconds)> pace)
    {
        var secondsOfWork = pace.Sum(made => made.Work) is > 0 and var work ? pace.Sum(made => made.Seconds) / work : (double?)null;
        var running = entries.Where(entry => entry.Runs).ToList();
        Running = running.Count;
        var ahead = running.Sum(entry => entry.SecondsLeft ?? secondsOfWork * entry.Work);
        foreach (var entry in entries.Where(entry => !entry.Runs))
        {
            ahead += secondsOfWork * entry.Work;
            // As many workers as have something to do share what waits.
            waiting[entry.Id] = (waiting.Count + 1, ahead is { } seconds ? Math.Round(seconds / Math.Max(1, running.Count)) : null);
        }
    }

    /// <summary>Jobs that are being made.</summary>
    public int Running { get; }

    /// <summary>Jobs that wait.</summary>
    public int Waiting => waiting.Count;

    /// <summary>Whether a job is known to wait.</summary>
    public bool Has(string id) => waiting.ContainsKey(id);

    /// <summary>The job with its place and the time that is left.</summary>
    public VideoJob Place(VideoJob job) => job.Status switch
    {
        VideoStatus.Queued when waiting.TryGetValue(job.Id, out var place) => job with { QueuePosition = place.Position, SecondsLeft = place.Seconds },
        VideoStatus.InProgress => job with { SecondsLeft = job.Progress?.SecondsLeft },
        _ => job,
    };
}
