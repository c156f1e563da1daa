using System.Collections.Concurrent;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Ends everything that was started with a key when the key is removed: open pages, streams and transfers, and active
/// videos. Pages opened without a key end when the first key is created.
/// </summary>
internal sealed partial class KeyWatch(ApiKeys keys, IJobStore store, JobSignals signals, BackgroundHealth health, ILogger<KeyWatch> log)
    : BackgroundLoop("removed keys", health, log)
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(0.5), Again = TimeSpan.FromMinutes(1);
    private readonly ConcurrentDictionary<Owner, CancellationTokenSource> open = [];
    private (IReadOnlyCollection<string>? Owners, DateTime At) ended;

    /// <summary>
    /// Returns a token that is cancelled within a second after the owner loses access, or within a few seconds while
    /// the database is unavailable.
    /// </summary>
    public CancellationToken EndOf(Owner owner) => open.GetOrAdd(owner, _ => new CancellationTokenSource()).Token;

    /// <summary>Whether an owner is an administrator.</summary>
    public bool IsAdmin(Owner owner) => keys.IsAdmin(owner);

    protected override async Task TurnAsync(CancellationToken stoppingToken)
    {
        await EndOpenAsync().ConfigureAwait(false);
        await EndVideosAsync(stoppingToken).ConfigureAwait(false);
        ReportSuccess();
        await Task.Delay(Look, stoppingToken).ConfigureAwait(false);
    }

    private async Task EndOpenAsync()
    {
        foreach (var owner in open.Keys.Where(owner => !keys.Allows(owner)))
        {
            // Later requests get another token, which the next turn checks.
            if (open.TryRemove(owner, out var end))
                await end.CancelAsync().ConfigureAwait(false);
        }
    }

    // Runs when keys have changed, and periodically for a video that was requested at the moment of the change.
    private async Task EndVideosAsync(CancellationToken cancellationToken)
    {
        if (keys.Owners is not { } owners || (ReferenceEquals(owners, ended.Owners) && DateTime.UtcNow - ended.At < Again))
            return;
        var reason = ServiceFault.CancelledWithKey();
        foreach (var owner in await store.ActiveOwnersAsync(cancellationToken).ConfigureAwait(false))
        {
            if (owner == Owner.Local || owners.Contains(owner.Name))
                continue;
            LogStopped(log, await store.CancelAllAsync(owner, reason, cancellationToken).ConfigureAwait(false), ApiKeys.NameOfOwner(owner.Name));
            signals.Changed();
        }

        ended = (owners, DateTime.UtcNow);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Count} videos were stopped: the key {Name} was taken away")]
    private static partial void LogStopped(ILogger log, int count, string name);
}
