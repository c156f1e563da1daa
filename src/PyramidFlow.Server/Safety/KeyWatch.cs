using System.Collections.Concurrent;
using PyramidFlow.Server.Jobs;
using PyramidFlow.Server.Store;
using PyramidFlow.Server.Work;

namespace PyramidFlow.Server.Safety;

/// <summary>
/// Ends what was begun with a key when the key is taken away: pages, streams and transfers that are open, and videos that
/// wait or are being made. Pages that were opened without a key end when keys come into use.
/// </summary>
internal sealed partial class KeyWatch(ApiKeys keys, IJobStore store, JobSignals signals, ILogger<KeyWatch> log) : BackgroundService
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(0.5), Again = TimeSpan.FromMinutes(1);
    private readonly ConcurrentDictionary<Owner, CancellationTokenSource> open = [];
    private (IReadOnlyCollection<string>? Owners, DateTime At) ended;

    /// <summary>Is cancelled, within a second, when the owner may not use the service any more.</summary>
    public CancellationToken EndOf(Owner owner) => open.GetOrAdd(owner, _ => new CancellationTokenSource()).Token;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var isWell = true;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await EndOpenAsync().ConfigureAwait(false);
                await EndVideosAsync(stoppingToken).ConfigureAwait(false);
                isWell = true;
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // It is tried on and on; one line tells it as long as it lasts.
                if (isWell)
                    LogPutOff(log, e.Message);
                isWell = false;
            }

            await Task.Delay(Look, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
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

    [LoggerMessage(Level = LogLevel.Error, Message = "What removed keys have begun cannot be ended just now: {Reason}")]
    private static partial void LogPutOff(ILogger log, string reason);
}
