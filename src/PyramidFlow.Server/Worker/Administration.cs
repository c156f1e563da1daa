using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// What those see and do who run the service, by REST and on the page: workers, the videos of all keys, keys and disk. Every call checks anew that its owner is an administrator; to everybody else there is nothing here.
/// </summary>
internal sealed partial class Administration(
    IAdminStore store, IJobStore jobs, JobFeed feed, JobSignals signals, VideoFolder folder, ApiKeys keys, ServerLimits limits, RetentionRules retention, LeaseRules lease, ILogger<Administration> log)
{
    /// <summary>Whether an owner is an administrator.</summary>
    public bool Admits(Owner owner) => keys.IsAdmin(owner);

    /// <summary>Returns the workers, by name.</summary>
    /// <exception cref="JobException">The owner is no administrator. All members throw this.</exception>
    public async Task<IReadOnlyList<SeenWorker>> WorkersAsync(Owner owner, CancellationToken cancellationToken)
    {
        Admit(owner);
        return [.. (await store.WorkerStatesAsync(cancellationToken).ConfigureAwait(false)).Select(state => new SeenWorker(state, state.Age < lease.Length))];
    }

    /// <summary>Lets a worker take no more videos after the one that it makes, or take videos again.</summary>
    /// <exception cref="JobException">There is no such worker.</exception>
    public async Task<SeenWorker> SetDrainingAsync(Owner owner, string worker, bool isDraining, CancellationToken cancellationToken)
    {
        Admit(owner);
        if (!await store.SetDrainingAsync(worker, isDraining, cancellationToken).ConfigureAwait(false))
            throw ServiceFault.WorkerUnknown(worker);
        LogDraining(log, worker, isDraining ? "takes no more videos" : "takes videos again", ApiKeys.NameOfOwner(owner.Name));
        signals.Changed();
        return (await WorkersAsync(owner, cancellationToken).ConfigureAwait(false)).FirstOrDefault(each => each.State.Entry.Name == worker) ?? throw ServiceFault.WorkerUnknown(worker);
    }

    /// <summary>Lists videos of all keys, the newest first.</summary>
    /// <exception cref="JobException">The limit is out of range, or the id after which to go on is unknown.</exception>
    public async Task<(IReadOnlyList<AdminJob> Jobs, bool HasMore)> ListAsync(Owner owner, AdminQuery query, CancellationToken cancellationToken)
    {
        Admit(owner);
        if (query.Limit is < 1 or > VideoQuery.Most)
            throw ServiceFault.LimitOutOfRange(VideoQuery.Most);
        var found = await store.ListAllAsync(query, cancellationToken).ConfigureAwait(false) ?? throw ServiceFault.VideoAfterUnknown();
        return ([.. found.Take(query.Limit).Select(each => each with { Job = feed.Queue.Place(each.Job) })], found.Count > query.Limit);
    }

    /// <summary>Stops a video of any key within one step; it stays with its owner as failed. A video that has ended does not change.</summary>
    /// <exception cref="JobException">There is no such video.</exception>
    public async Task<VideoJob> CancelAsync(Owner owner, string id, CancellationToken cancellationToken)
    {
        Admit(owner);
        var before = await FindAsync(id, cancellationToken).ConfigureAwait(false);
        await jobs.CancelAsync(id, ServiceFault.CancelledByAdministrator(), cancellationToken).ConfigureAwait(false);
        if (!before.HasEnded)
            LogCancelled(log, id, ApiKeys.NameOfOwner(before.Owner.Name), ApiKeys.NameOfOwner(owner.Name));
        signals.Changed();
        folder.TryDeleteUnits(id);
        return await FindAsync(id, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Returns the keys with what they use, by name; keys that were removed and still have videos come last.</summary>
    public async Task<IReadOnlyList<KeyState>> KeysAsync(Owner owner, CancellationToken cancellationToken)
    {
        Admit(owner);
        var use = (await store.UseAsync(cancellationToken).ConfigureAwait(false)).ToDictionary(each => each.Owner.Name);
        var present = keys.Owners ?? [];
        return [.. present.Order(StringComparer.Ordinal).Select(name => Of(name, isRemoved: false)),
            .. use.Keys.Where(name => !present.Contains(name)).Order(StringComparer.Ordinal).Select(name => Of(name, isRemoved: true))];

        KeyState Of(string name, bool isRemoved) => new(ApiKeys.NameOfOwner(name), keys.IsAdmin(new Owner(name)), isRemoved, keys.LimitsOf(new Owner(name)).Over(limits),
            use.GetValueOrDefault(name) ?? new OwnerUse(new Owner(name), 0, 0, 0, 0, 0, 0));
    }

    /// <summary>Measures the data folder; this reads the sizes of all its files.</summary>
    public async Task<DiskUse> DiskAsync(Owner owner, CancellationToken cancellationToken)
    {
        Admit(owner);
        return await Task.Run(() => folder.Measure(retention.KeepBytes), cancellationToken).ConfigureAwait(false);
    }

    private async Task<VideoJob> FindAsync(string id, CancellationToken cancellationToken) =>
        VideoId.IsValid(id) && await jobs.FindAsync(id, cancellationToken).ConfigureAwait(false) is { } job ? job : throw ServiceFault.VideoUnknown();

    private void Admit(Owner owner)
    {
        if (!Admits(owner))
            throw ServiceFault.AddressUnknown();
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Worker} {What}: the administrator {Key} asked for it")]
    private static partial void LogDraining(ILogger log, string worker, string what, string key);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Id} of the key {Owner} is cancelled: the administrator {Key} asked for it")]
    private static partial void LogCancelled(ILogger log, string id, string owner, string key);
}

/// <summary>A worker as an administrator sees it.</summary>
/// <param name="State">The worker.</param>
/// <param name="IsAlive">Whether it has given a sign of life within the time of a lease.</param>
internal sealed record SeenWorker(WorkerState State, bool IsAlive);

/// <summary>A key as an administrator sees it; its secret is kept nowhere.</summary>
/// <param name="Name">Its name.</param>
/// <param name="IsAdmin">Whether it is one of an administrator.</param>
/// <param name="IsRemoved">Whether it was removed, and its videos are still kept.</param>
/// <param name="Limits">What it is held to.</param>
/// <param name="Use">What it uses.</param>
internal sealed record KeyState(string Name, bool IsAdmin, bool IsRemoved, ServerLimits Limits, OwnerUse Use);
