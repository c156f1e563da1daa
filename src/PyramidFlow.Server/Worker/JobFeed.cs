using System.Collections.Concurrent;
using System.Diagnostics;
using System.Threading.Channels;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Reads changes of the queue once for all watchers of this process and notifies them. Changes by this process arrive
/// at once, those by other processes within 200 ms.
/// </summary>
internal sealed class JobFeed(IJobStore store, JobSignals signals, LeaseRules rules, RetentionRules retention, BackgroundHealth health, ILogger<JobFeed> log)
    : BackgroundLoop("queue feed", health, log)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200), Least = TimeSpan.FromMilliseconds(25), LookForWorkers = TimeSpan.FromSeconds(1);
    private readonly ConcurrentDictionary<JobWatcher, byte> watchers = [];
    private readonly ConcurrentDictionary<string, VideoJob> waiting = [];
    private volatile QueueView queue = new([], [], []);
    private long? seen;
    private long workersRead;

    /// <summary>The queue at the last read.</summary>
    public QueueView Queue => queue;

    /// <summary>Number of unreadable queue entries at the last read.</summary>
    public int Unreadable { get; private set; }

    /// <summary>Number of watchers.</summary>
    public int Watchers => watchers.Count;

    /// <summary>Adds a watcher; disposing the result removes it.</summary>
    public IDisposable Add(JobWatcher watcher)
    {
        watchers[watcher] = 0;
        return new Subscription(this, watcher);
    }

    /// <summary>Adds the place in the queue, or the time of removal, to a job.</summary>
    public async Task<VideoJob> PlaceAsync(VideoJob job, CancellationToken cancellationToken)
    {
        if (job.Status == VideoStatus.Queued)
        {
            if (!queue.Has(job.Id))
                await RefreshAsync(cancellationToken).ConfigureAwait(false);
            // The caller may watch the job and must hear when it moves up.
            waiting[job.Id] = job;
        }

        return Placed(job);
    }

    protected override async Task TurnAsync(CancellationToken stoppingToken)
    {
        var signal = signals.Next;
        if (Stopwatch.GetElapsedTime(workersRead) > LookForWorkers)
            await LookForWorkersAsync(stoppingToken).ConfigureAwait(false);
        seen = seen is { } last ? await ReadAsync(last, stoppingToken).ConfigureAwait(false) : await BeginAsync(stoppingToken).ConfigureAwait(false);
        ReportSuccess();
        await Task.Delay(Least, stoppingToken).ConfigureAwait(false);
        await JobSignals.WaitAsync(signal, Look, stoppingToken).ConfigureAwait(false);
    }

    // Workers come and go without a change of any job.
    private async Task LookForWorkersAsync(CancellationToken cancellationToken)
    {
        workersRead = Stopwatch.GetTimestamp();
        var now = await store.WorkersAsync(rules.Length, cancellationToken).ConfigureAwait(false);
        if (!Facts(now).SequenceEqual(Facts(queue.Workers)))
            await RefreshAsync(cancellationToken).ConfigureAwait(false);

        static IEnumerable<string> Facts(IEnumerable<WorkerEntry> workers) => workers.SelectMany(worker => worker.Models.Concat(worker.Loras).Prepend(worker.IsDraining ? "draining" : "").Prepend(worker.Name));
    }

    private async Task<long> BeginAsync(CancellationToken cancellationToken)
    {
        var revision = await store.RevisionAsync(cancellationToken).ConfigureAwait(false);
        await RefreshAsync(cancellationToken).ConfigureAwait(false);
        return revision;
    }

    private async Task<long> ReadAsync(long seen, CancellationToken cancellationToken)
    {
        var latest = await store.RevisionAsync(cancellationToken).ConfigureAwait(false);
        if (latest == seen)
            return seen;
        var changes = await store.ChangesAsync(seen, cancellationToken).ConfigureAwait(false);
        // Progress of a job changes no places.
        if (changes.Any(change => change.Job is not { Status: VideoStatus.InProgress, Progress: not null }))
            await RefreshAsync(cancellationToken).ConfigureAwait(false);
        var audience = Audience();
        foreach (var (id, owner, revision, job) in changes)
        {
            if (job is { Status: VideoStatus.Queued })
                waiting[id] = job;
            else
                waiting.TryRemove(id, out _);
            Tell(audience, owner, id, job);
            seen = Math.Max(seen, revision);
        }

        // Rows that were left out are not read again until they change.
        return Math.Max(seen, latest);
    }

    private async Task RefreshAsync(CancellationToken cancellationToken)
    {
        var before = queue;
        Unreadable = (await store.UnreadableAsync(cancellationToken).ConfigureAwait(false)).Count;
        queue = new QueueView(await store.QueueAsync(cancellationToken).ConfigureAwait(false), await store.PaceAsync(cancellationToken).ConfigureAwait(false),
            await store.WorkersAsync(rules.Length, cancellationToken).ConfigureAwait(false));
        var audience = Audience();
        foreach (var (id, job) in waiting)
        {
            if (!queue.Has(id))
                waiting.TryRemove(id, out _);
            else if (before.Place(job) is var was && queue.Place(job) is var now && (was.QueuePosition, was.HasNoWorker) != (now.QueuePosition, now.HasNoWorker))
                Tell(audience, job.Owner, id, job);
        }
    }

    // The watchers by their video; those of all videos under no name. A place that becomes free moves up all who wait, so that each change must not be shown to each watcher. Taken after the changes
    // were read: whoever begins to watch later reads them with the video.
    private ILookup<string, JobWatcher> Audience() => watchers.Keys.ToLookup(watcher => watcher.Id ?? "");

    private void Tell(ILookup<string, JobWatcher> audience, Owner owner, string id, VideoJob? job)
    {
        if (!audience.Contains(id) && !audience.Contains(""))
            return;
        var change = new JobChange(id, job is null ? null : Placed(job));
        foreach (var watcher in audience[id].Concat(audience[""]))
            watcher.Tell(owner, change);
    }

    private VideoJob Placed(VideoJob job) => queue.Place(job) with { ExpiresAt = retention.End(job) };

    private sealed class Subscription(JobFeed feed, JobWatcher watcher) : IDisposable
    {
        public void Dispose() => feed.watchers.TryRemove(watcher, out _);
    }
}

/// <summary>
/// A subscriber to changes. Only the latest state of each job is kept for a slow reader, so its memory is bounded by
/// the number of jobs.
/// </summary>
/// <param name="owner">Owner of the jobs.</param>
/// <param name="id">Id of the job; null for all jobs of the owner.</param>
internal sealed class JobWatcher(Owner owner, string? id)
{
    private readonly Lock gate = new();
    private readonly Channel<bool> ready = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private Dictionary<string, JobChange> pending = [];

    /// <summary>Id of the watched job; null for all.</summary>
    public string? Id { get; } = id;

    /// <summary>Receives a change.</summary>
    public void Tell(Owner whose, JobChange change)
    {
        if (whose != owner || (Id is not null && Id != change.Id))
            return;
        lock (gate)
            pending[change.Id] = change;
        ready.Writer.TryWrite(true);
    }

    /// <summary>Waits for changes and returns them; at least one.</summary>
    public async Task<IReadOnlyList<JobChange>> NextAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            await ready.Reader.ReadAsync(cancellationToken).ConfigureAwait(false);
            lock (gate)
            {
                // The change behind this signal may have been returned with an earlier one.
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
/// Signals within one process that the queue may have changed, so that loops need not wait for their next poll. A lost
/// signal only costs time; the queue itself is in the database.
/// </summary>
internal sealed class JobSignals
{
    private TaskCompletionSource next = New();

    /// <summary>Wakes all waiters.</summary>
    public void Changed() => Interlocked.Exchange(ref next, New()).TrySetResult();

    /// <summary>A task that completes at the next change.</summary>
    public Task Next => Volatile.Read(ref next).Task;

    /// <summary>Waits for a change or a timeout.</summary>
    /// <param name="signal">A <see cref="Next"/> taken before the queue was read.</param>
    /// <param name="most">The timeout.</param>
    /// <param name="cancellationToken">Cancels the wait.</param>
    public static async Task WaitAsync(Task signal, TimeSpan most, CancellationToken cancellationToken)
    {
        var pause = Task.Delay(most, cancellationToken);
        await Task.WhenAny(signal, pause).ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>A snapshot of the queue with places, estimated waiting times and the running workers.</summary>
internal sealed class QueueView
{
    private readonly Dictionary<string, (int Position, double? Seconds, bool HasNoWorker)> waiting = [];

    /// <param name="entries">Queued and running jobs in the order of the queue.</param>
    /// <param name="pace">Work and seconds of the videos completed last.</param>
    /// <param name="workers">Running workers.</param>
    public QueueView(IReadOnlyList<QueueEntry> entries, IReadOnlyList<(double Work, double Seconds)> pace, IReadOnlyList<WorkerEntry> workers)
    {
        Workers = workers;
        var secondsOfWork = pace.Sum(made => made.Work) is > 0 and var work ? pace.Sum(made => made.Seconds) / work : (double?)null;
        var running = entries.Where(entry => entry.Runs).ToList();
        Running = running.Count;
        var ahead = running.Sum(entry => entry.SecondsLeft ?? secondsOfWork * entry.Work);
        foreach (var entry in entries.Where(entry => !entry.Runs))
        {
            ahead += secondsOfWork * entry.Work;
            // The workers that have the model and the LoRAs share the queue. Where none has them, nobody knows how long it takes.
            var able = workers.Count(worker => worker.CanMake(entry));
            waiting[entry.Id] = (waiting.Count + 1, ahead is { } seconds && able > 0 ? Math.Round(seconds / able) : null, able == 0);
        }
    }

    /// <summary>Running workers, by name.</summary>
    public IReadOnlyList<WorkerEntry> Workers { get; }

    /// <summary>Number of running jobs.</summary>
    public int Running { get; }

    /// <summary>Number of queued jobs.</summary>
    public int Waiting => waiting.Count;

    /// <summary>Whether a job is in the queue.</summary>
    public bool Has(string id) => waiting.ContainsKey(id);

    /// <summary>Returns the job with its place and remaining time.</summary>
    public VideoJob Place(VideoJob job) => job.Status switch
    {
        VideoStatus.Queued when waiting.TryGetValue(job.Id, out var place) => job with { QueuePosition = place.Position, SecondsLeft = place.Seconds, HasNoWorker = place.HasNoWorker },
        VideoStatus.InProgress => job with { SecondsLeft = job.Progress?.SecondsLeft },
        _ => job,
    };
}
