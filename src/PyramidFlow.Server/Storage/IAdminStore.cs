using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>The queue as those see it who run the service: the jobs of all owners, all workers, and what each owner uses.</summary>
internal interface IAdminStore
{
    /// <summary>Returns all workers that are remembered, by name; those that were killed are forgotten after an hour.</summary>
    Task<IReadOnlyList<WorkerState>> WorkerStatesAsync(CancellationToken cancellationToken);

    /// <summary>Sets whether a worker takes no more jobs. False: there is no such worker.</summary>
    Task<bool> SetDrainingAsync(string worker, bool isDraining, CancellationToken cancellationToken);

    /// <summary>Lists jobs of all owners, the newest first: one more than the limit when there are more; null when the id after which to go on is unknown.</summary>
    Task<IReadOnlyList<AdminJob>?> ListAllAsync(AdminQuery query, CancellationToken cancellationToken);

    /// <summary>Returns what each owner uses who has a job or has added one today.</summary>
    Task<IReadOnlyList<OwnerUse>> UseAsync(CancellationToken cancellationToken);
}

/// <summary>A worker and what it does.</summary>
/// <param name="Entry">The worker.</param>
/// <param name="SeenAt">Last sign of life.</param>
/// <param name="Age">Time since then, by the clock of the database.</param>
internal sealed record WorkerState(WorkerEntry Entry, DateTimeOffset SeenAt, TimeSpan Age)
{
    /// <summary>Id of the job that it makes; null for none.</summary>
    public string? Job { get; init; }

    /// <summary>Owner of that job.</summary>
    public Owner? Owner { get; init; }

    /// <summary>Share of that job that is done, 0 to 1.</summary>
    public double Fraction { get; init; }
}

/// <summary>A job of any owner.</summary>
/// <param name="Job">The job.</param>
/// <param name="Worker">Name of the worker that makes it; null for none.</param>
internal sealed record AdminJob(VideoJob Job, string? Worker);

/// <summary>The jobs of all owners to list.</summary>
/// <param name="Limit">Maximum number.</param>
internal sealed record AdminQuery(int Limit)
{
    /// <summary>Only those of this status; null for any.</summary>
    public VideoStatus? Status { get; init; }

    /// <summary>Only those of the key of this name, and of removed ones of this name; null for any.</summary>
    public string? Key { get; init; }

    /// <summary>Id after which the list continues.</summary>
    public string? After { get; init; }
}

/// <summary>What an owner uses.</summary>
/// <param name="Owner">The owner.</param>
/// <param name="Today">Jobs added within 24 hours, which begin with the first of them; deleted ones too.</param>
/// <param name="Waiting">Queued jobs.</param>
/// <param name="Running">Jobs that are made.</param>
/// <param name="Completed">Completed jobs that are kept.</param>
/// <param name="Failed">Failed and cancelled jobs that are kept.</param>
/// <param name="Bytes">Bytes of the files of completed jobs.</param>
internal sealed record OwnerUse(Owner Owner, long Today, long Waiting, long Running, long Completed, long Failed, long Bytes);
