using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>
/// All jobs, in one table that servers and workers share. A job's way: queued, in progress under a lease, then completed
/// or failed; a lease that runs out puts it back, or fails it after the last attempt. Every change gets the next revision.
/// </summary>
internal interface IJobStore : IAsyncDisposable
{
    /// <summary>Makes the tables if need be, or brings them to the version of this program.</summary>
    /// <exception cref="NewerStoreException">They are of a newer version.</exception>
    Task InitializeAsync(CancellationToken cancel);

    /// <summary>Counts a request of an owner, for all servers of this store together.</summary>
    /// <exception cref="JobException">The owner made as many as allowed in the minute that began with the first of them.</exception>
    Task CountRequestAsync(Owner owner, int mostPerMinute, CancellationToken cancel);

    /// <summary>Whether an owner may make a request now; counts none.</summary>
    /// <exception cref="JobException">As <see cref="CountRequestAsync"/>.</exception>
    Task CheckRequestsAsync(Owner owner, int mostPerMinute, CancellationToken cancel);

    /// <summary>Puts a job into the queue; with a known idempotency key it gives the job of that key.</summary>
    /// <exception cref="JobException">The key was used for something else, or too many jobs are under way.</exception>
    Task<(VideoJob Job, bool IsNew)> AddAsync(NewJob job, CancellationToken cancel);

    /// <summary>The job of an idempotency key; null when there is none.</summary>
    Task<VideoJob?> FindByKeyAsync(NewJob job, CancellationToken cancel);

    /// <summary>Whether there is a job of an owner's idempotency key.</summary>
    Task<bool> HasKeyAsync(Owner owner, string idempotencyKey, CancellationToken cancel);

    /// <summary>A job; null when there is none.</summary>
    Task<VideoJob?> FindAsync(string id, CancellationToken cancel);

    /// <summary>An owner's jobs; one more than the limit when there are more. Null: the id to go on after is unknown.</summary>
    Task<IReadOnlyList<VideoJob>?> ListAsync(Owner owner, VideoQuery query, CancellationToken cancel);

    /// <summary>What changed after a revision, oldest change first; deleted ones among it.</summary>
    Task<IReadOnlyList<StoredChange>> ChangesAsync(long after, CancellationToken cancel);

    /// <summary>The latest revision.</summary>
    Task<long> RevisionAsync(CancellationToken cancel);

    /// <summary>What waits and runs, in order.</summary>
    Task<IReadOnlyList<QueueEntry>> QueueAsync(CancellationToken cancel);

    /// <summary>Work and seconds of the videos that were finished last.</summary>
    Task<IReadOnlyList<(double Work, double Seconds)>> PaceAsync(CancellationToken cancel);

    /// <summary>Entries that could not be read and were set aside, with the reason; they count as failed, and keep what they hold.</summary>
    Task<IReadOnlyList<(string Id, string Reason)>> UnreadableAsync(CancellationToken cancel);

    /// <summary>Takes the next job that waits and whose model is at hand; null when there is none.</summary>
    /// <exception cref="NewerStoreException">The tables were brought to a newer version meanwhile.</exception>
    Task<JobLease?> LeaseAsync(string worker, IReadOnlyCollection<string> models, TimeSpan lease, CancellationToken cancel);

    /// <summary>Keeps a lease and tells the progress. False: the job was cancelled, deleted or given to another.</summary>
    Task<bool> RenewAsync(JobLease lease, VideoProgress? progress, TimeSpan length, CancellationToken cancel);

    /// <summary>The video is there. False: the lease is lost.</summary>
    Task<bool> CompleteAsync(JobLease lease, VideoResult result, CancellationToken cancel);

    /// <summary>It went wrong; with a retry it waits again, unless it was the last attempt. False: the lease is lost.</summary>
    Task<bool> FailAsync(JobLease lease, VideoError error, bool retry, CancellationToken cancel);

    /// <summary>Puts a job back as if it had not been begun. False: the lease is lost.</summary>
    Task<bool> ReleaseAsync(JobLease lease, CancellationToken cancel);

    /// <summary>Takes back jobs whose lease has run out; gives how many.</summary>
    Task<int> ReapAsync(CancellationToken cancel);

    /// <summary>Fails a job that has not ended.</summary>
    Task CancelAsync(string id, VideoError reason, CancellationToken cancel);

    /// <summary>Owners of jobs that have not ended.</summary>
    Task<IReadOnlyList<Owner>> ActiveOwnersAsync(CancellationToken cancel);

    /// <summary>Fails all of an owner's jobs that have not ended; gives how many.</summary>
    Task<int> CancelAllAsync(Owner owner, VideoError reason, CancellationToken cancel);

    /// <summary>Removes a job.</summary>
    Task DeleteAsync(string id, CancellationToken cancel);

    /// <summary>Every job there is with its attempt and status, for the care of files.</summary>
    Task<IReadOnlyDictionary<string, StoredState>> StatesAsync(CancellationToken cancel);

    /// <summary>Forgets removed jobs that nobody can still be waiting to hear of.</summary>
    Task PurgeAsync(TimeSpan age, CancellationToken cancel);
}

/// <summary>A job that changed; <paramref name="Job"/> is null when it was removed.</summary>
internal sealed record StoredChange(string Id, Owner Owner, long Revision, VideoJob? Job);

/// <summary>What the care of files has to know of a job.</summary>
internal sealed record StoredState(VideoStatus Status, int Attempt, DateTimeOffset? CompletedAt, long Bytes)
{
    /// <summary>Whether its entry cannot be read, so that its files are to stay as they are.</summary>
    public bool IsUnreadable { get; init; }
}

/// <summary>A job to put into the queue.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Owner">Who asks.</param>
/// <param name="Request">What for, every value filled in.</param>
internal sealed record NewJob(string Id, Owner Owner, VideoRequest Request)
{
    /// <summary>The owner's word for this very request; null is none.</summary>
    public string? IdempotencyKey { get; init; }

    /// <summary>Hash of what was asked for, to tell a repetition from another use of the key.</summary>
    public string? Fingerprint { get; init; }

    /// <summary>Most jobs of the owner that may wait or run.</summary>
    public int MaxActive { get; init; } = int.MaxValue;
}

/// <summary>A worker's hold on a job: nobody else takes it as long as the lease is renewed in time.</summary>
/// <param name="Job">The job as it was taken.</param>
/// <param name="Worker">Who holds it.</param>
internal sealed record JobLease(VideoJob Job, string Worker)
{
    public string Id => Job.Id;

    public int Attempt => Job.Attempt;
}

/// <summary>Rules for leases and retries.</summary>
/// <param name="Attempts">Maximum number of attempts; a job that fails the last one stays failed.</param>
/// <param name="Pause">Pause after the first attempt; each further pause is four times as long.</param>
internal sealed record LeaseRules(int Attempts, TimeSpan Pause)
{
    /// <summary>Duration of a lease that is not renewed.</summary>
    public TimeSpan Length { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>A job that waits or runs, in the order of the queue.</summary>
/// <param name="Id">Which.</param>
/// <param name="Runs">Whether a worker has it.</param>
/// <param name="Work">Pixels times steps of it, to guess how long it takes.</param>
/// <param name="SecondsLeft">Of a running one, as its worker says.</param>
internal sealed record QueueEntry(string Id, bool Runs, double Work, double? SecondsLeft);
