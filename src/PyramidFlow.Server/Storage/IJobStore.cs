using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>
/// The job table that servers and workers share. A job is queued, then in progress under a lease, then completed or
/// failed. A lease that expires returns the job to the queue, or fails it after the last attempt. Every change gets the
/// next revision.
/// </summary>
internal interface IJobStore : IAsyncDisposable
{
    /// <summary>Creates the tables, or migrates them to the version of this program.</summary>
    /// <exception cref="ServiceException">The tables have a newer version.</exception>
    Task InitializeAsync(CancellationToken cancellationToken);

    /// <summary>Counts a request of an owner over all servers of this store.</summary>
    /// <exception cref="JobException">The owner has made the maximum number of requests in the current minute, which began with the first of them.</exception>
    Task CountRequestAsync(Owner owner, int mostPerMinute, CancellationToken cancellationToken);

    /// <summary>Checks whether an owner may make a request now, without counting one.</summary>
    /// <exception cref="JobException">As <see cref="CountRequestAsync"/>.</exception>
    Task CheckRequestsAsync(Owner owner, int mostPerMinute, CancellationToken cancellationToken);

    /// <summary>Checks whether an owner may add a job today, without counting one; <see cref="AddAsync"/> counts.</summary>
    /// <exception cref="JobException">The owner has added the maximum number of jobs within 24 hours, which begin with the first of them.</exception>
    Task CheckDayAsync(Owner owner, int mostPerDay, CancellationToken cancellationToken);

    /// <summary>Adds a job to the queue; a known idempotency key returns the job of that key.</summary>
    /// <exception cref="JobException">The key was used for another request, or the owner has too many active jobs.</exception>
    Task<(VideoJob Job, bool IsNew)> AddAsync(NewJob job, CancellationToken cancellationToken);

    /// <summary>Returns the job of an idempotency key; null when there is none.</summary>
    Task<VideoJob?> FindByKeyAsync(NewJob job, CancellationToken cancellationToken);

    /// <summary>Whether an owner's idempotency key has a job.</summary>
    Task<bool> HasKeyAsync(Owner owner, string idempotencyKey, CancellationToken cancellationToken);

    /// <summary>Returns a job; null when there is none.</summary>
    Task<VideoJob?> FindAsync(string id, CancellationToken cancellationToken);

    /// <summary>
    /// Lists an owner's jobs: one more than the limit when there are more; null when the id in <see
    /// cref="VideoQuery.After"/> is unknown.
    /// </summary>
    Task<IReadOnlyList<VideoJob>?> ListAsync(Owner owner, VideoQuery query, CancellationToken cancellationToken);

    /// <summary>Returns all changes after a revision, oldest first, including deletions.</summary>
    Task<IReadOnlyList<StoredChange>> ChangesAsync(long after, CancellationToken cancellationToken);

    /// <summary>Returns the latest revision.</summary>
    Task<long> RevisionAsync(CancellationToken cancellationToken);

    /// <summary>Returns running jobs, then queued ones in the order in which they will be leased.</summary>
    Task<IReadOnlyList<QueueEntry>> QueueAsync(CancellationToken cancellationToken);

    /// <summary>Returns work and seconds of the videos that were completed last.</summary>
    Task<IReadOnlyList<(double Work, double Seconds)>> PaceAsync(CancellationToken cancellationToken);

    /// <summary>Returns the entries that were set aside as unreadable, with the reason. They count as failed and keep their content.</summary>
    Task<IReadOnlyList<(string Id, string Reason)>> UnreadableAsync(CancellationToken cancellationToken);

    /// <summary>Announces a worker and its models; the worker repeats it until it stops.</summary>
    /// <returns>Whether it is to take no more jobs.</returns>
    Task<bool> AnnounceAsync(WorkerEntry worker, CancellationToken cancellationToken);

    /// <summary>Withdraws a worker that stops.</summary>
    Task WithdrawAsync(string worker, CancellationToken cancellationToken);

    /// <summary>Returns the workers that were announced within an age, by name.</summary>
    Task<IReadOnlyList<WorkerEntry>> WorkersAsync(TimeSpan age, CancellationToken cancellationToken);

    /// <summary>
    /// Leases the next queued job of one of the models, and of no other LoRAs than those named; null when there is none. Owners take turns (<see cref="FairTurns"/>): next is the oldest job of the owner
    /// whose last lease is the longest ago.
    /// </summary>
    /// <exception cref="ServiceException">The tables were migrated to a newer version meanwhile.</exception>
    Task<JobLease?> LeaseAsync(string worker, IReadOnlyCollection<string> models, TimeSpan lease, CancellationToken cancellationToken, IReadOnlyCollection<string>? loras = null);

    /// <summary>Renews a lease and stores the progress. False: the job was cancelled, deleted or leased to another worker.</summary>
    Task<bool> RenewAsync(JobLease lease, VideoProgress? progress, TimeSpan length, CancellationToken cancellationToken);

    /// <summary>Completes a job. False: the lease is lost.</summary>
    /// <param name="lease">The lease.</param>
    /// <param name="result">What it became.</param>
    /// <param name="cancellationToken">Cancels the change.</param>
    /// <param name="asMade">The request that makes the video again, where it was changed while it was made; null leaves it.</param>
    Task<bool> CompleteAsync(JobLease lease, VideoResult result, CancellationToken cancellationToken, VideoRequest? asMade = null);

    /// <summary>
    /// Begins a unit of a job: changes that were stored before count for it, those that are stored later count for a later one. Null: the lease is lost.
    /// </summary>
    Task<VideoLive?> BeginUnitAsync(JobLease lease, int unit, int units, CancellationToken cancellationToken);

    /// <summary>Stores a change of a running job from its next unit on; no unit begins meanwhile.</summary>
    /// <exception cref="JobException">The job is not running, or the change comes too late.</exception>
    Task<VideoLive> ChangeLiveAsync(string id, LiveChange change, CancellationToken cancellationToken);

    /// <summary>Fails an attempt; with a retry the job is queued again, except after the last attempt. False: the lease is lost.</summary>
    Task<bool> FailAsync(JobLease lease, VideoError error, bool retry, CancellationToken cancellationToken);

    /// <summary>Returns a job to the queue as if the attempt had not begun. False: the lease is lost.</summary>
    Task<bool> ReleaseAsync(JobLease lease, CancellationToken cancellationToken);

    /// <summary>Returns jobs with expired leases to the queue; returns their number.</summary>
    Task<int> ReapAsync(CancellationToken cancellationToken);

    /// <summary>Fails a job that has not ended.</summary>
    Task CancelAsync(string id, VideoError reason, CancellationToken cancellationToken);

    /// <summary>Returns the owners of jobs that have not ended.</summary>
    Task<IReadOnlyList<Owner>> ActiveOwnersAsync(CancellationToken cancellationToken);

    /// <summary>Fails all jobs of an owner that have not ended; returns their number.</summary>
    Task<int> CancelAllAsync(Owner owner, VideoError reason, CancellationToken cancellationToken);

    /// <summary>Sets whether a job is a favourite of its owner. False: there is none.</summary>
    Task<bool> MarkAsync(string id, bool isFavourite, CancellationToken cancellationToken);

    /// <summary>Removes a job.</summary>
    Task DeleteAsync(string id, CancellationToken cancellationToken);

    /// <summary>Returns attempt and status of all jobs, for the cleanup of files.</summary>
    Task<IReadOnlyDictionary<string, StoredState>> StatesAsync(CancellationToken cancellationToken);

    /// <summary>Deletes the entries of jobs removed, and of workers last announced, longer ago than an age; watchers have seen them by then.</summary>
    Task PurgeAsync(TimeSpan age, CancellationToken cancellationToken);
}

/// <summary>A change of a job; <paramref name="Job"/> is null when it was removed.</summary>
internal sealed record StoredChange(string Id, Owner Owner, long Revision, VideoJob? Job);

/// <summary>State of a job, as the cleanup of files needs it.</summary>
internal sealed record StoredState(VideoStatus Status, int Attempt, DateTimeOffset? CompletedAt, long Bytes)
{
    /// <summary>Whether the entry is unreadable; its files must then stay.</summary>
    public bool IsUnreadable { get; init; }
}

/// <summary>A job to add to the queue.</summary>
/// <param name="Id">Id of the job.</param>
/// <param name="Owner">Owner of the request.</param>
/// <param name="Request">The request with all defaults filled in.</param>
internal sealed record NewJob(string Id, Owner Owner, VideoRequest Request)
{
    /// <summary>Key of the owner that identifies this request; null for none.</summary>
    public string? IdempotencyKey { get; init; }

    /// <summary>Hash of the request, which distinguishes a repetition from another use of the key.</summary>
    public string? Fingerprint { get; init; }

    /// <summary>Maximum number of active jobs of the owner.</summary>
    public int MaxActive { get; init; } = int.MaxValue;

    /// <summary>Maximum number of jobs of the owner within 24 hours, which begin with the first of them.</summary>
    public int MaxPerDay { get; init; } = int.MaxValue;
}

/// <summary>A worker's lease on a job: no other worker takes the job while the lease is renewed in time.</summary>
/// <param name="Job">The job at the time of the lease.</param>
/// <param name="Worker">Name of the worker.</param>
internal sealed record JobLease(VideoJob Job, string Worker)
{
    public string Id => Job.Id;

    public int Attempt => Job.Attempt;
}

/// <summary>Rules for leases and retries.</summary>
/// <param name="Attempts">Maximum number of attempts in a row of which none finishes a further unit; a job that fails the last one stays failed.</param>
/// <param name="Pause">Pause after the first attempt; each further pause is four times as long.</param>
internal sealed record LeaseRules(int Attempts, TimeSpan Pause)
{
    /// <summary>Duration of a lease that is not renewed.</summary>
    public TimeSpan Length { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>A running worker.</summary>
/// <param name="Name">Its name, as leases have it.</param>
/// <param name="Models">Ids of the models that it can make videos with.</param>
/// <param name="Processes">Processes that make each of its videos together.</param>
internal sealed record WorkerEntry(string Name, IReadOnlyList<string> Models, int Processes)
{
    /// <summary>Names of the LoRAs that it has.</summary>
    public IReadOnlyList<string> Loras { get; init; } = [];

    /// <summary>Its device, such as <c>cpu</c> or <c>cuda:0</c>.</summary>
    public string Device { get; init; } = "";

    /// <summary>Bytes of memory of its machine, within the limits of its process.</summary>
    public long Memory { get; init; }

    /// <summary>Bytes of memory of its process.</summary>
    public long MemoryUsed { get; init; }

    /// <summary>Whether it takes no more jobs.</summary>
    public bool IsDraining { get; init; }

    /// <summary>Whether it can make a job.</summary>
    public bool CanMake(QueueEntry job) => !IsDraining && Models.Contains(job.Model) && job.Loras.All(Loras.Contains);
}

/// <summary>A queued or running job.</summary>
/// <param name="Id">Id of the job.</param>
/// <param name="Model">Id of its model.</param>
/// <param name="Runs">Whether a worker has leased the job.</param>
/// <param name="Work">Pixels times steps, for estimates of the duration.</param>
/// <param name="SecondsLeft">Remaining seconds of a running job, as its worker estimates.</param>
internal sealed record QueueEntry(string Id, string Model, bool Runs, double Work, double? SecondsLeft)
{
    /// <summary>Names of its LoRAs.</summary>
    public IReadOnlyList<string> Loras { get; init; } = [];

    /// <summary>Its owner.</summary>
    public Owner Owner { get; init; }

    /// <summary>Grows with each lease of a job of any owner: the last one of this owner; 0 before the first.</summary>
    public long Served { get; init; }
}
