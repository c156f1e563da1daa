using System.Collections.Concurrent;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Ends what was begun with a key when the key is taken away: pages, streams and transfers that are open, and videos that
/// wait or are being made. Pages that were opened without a key end when keys come into use.
/// </summary>
internal sealed partial class KeyWatch(ApiKeys keys, IJobStore store, JobSignals signals, BackgroundHealth health, ILogger<KeyWatch> log)
    : BackgroundLoop("removed keys", health, log)
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(0.5), Again = TimeSpan.FromMinutes(1);
    private readonly ConcurrentDictionary<Owner, CancellationTokenSource> open = [];
    private (IReadOnlyCollection<string>? Owners, DateTime At) ended;

    /// <summary>Is cancelled, within a second, when the owner may not use the service any more; within a few, while the database is away.</summary>
    public CancellationToken EndOf(Owner owner) => open.GetOrAdd(owner, _ => new CancellationTokenSource()).Token;

    protected override async Task TurnAsync(CancellationToken stop)
    {
        await EndOpenAsync().ConfigureAwait(false);
        await EndVideosAsync(stop).ConfigureAwait(false);
        Works();
        await Task.Delay(Look, stop).ConfigureAwait(false);
    }

    private async Task EndOpenAsync()
    {
        foreach (var owner in open.Keys.Where(owner => !keys.Allows(owner)))
        {
            // Who comes in later gets another token, which is looked at next time.
            if (open.TryRemove(owner, out var end))
                await end.CancelAsync().ConfigureAwait(false);
        }
    }

    // When keys have changed, and now and then for one that was asked for in the same instant.
    private async Task EndVideosAsync(CancellationToken cancel)
    {
        if (keys.Owners is not { } owners || (ReferenceEquals(owners, ended.Owners) && DateTime.UtcNow - ended.At < Again))
            return;
        var reason = new VideoError(VideoError.Cancelled, "the key that it was asked for with was taken away");
        foreach (var owner in await store.ActiveOwnersAsync(cancel).ConfigureAwait(false))
        {
            if (owner == Owner.Local || owners.Contains(owner.Name))
                continue;
            LogStopped(log, await store.CancelAllAsync(owner, reason, cancel).ConfigureAwait(false), ApiKeys.NameOfOwner(owner.Name));
            signals.Changed();
        }

        ended = (owners, DateTime.UtcNow);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Count} videos were stopped: the key {Name} was taken away")]
    private static partial void LogStopped(ILogger log, int count, string name);
}
