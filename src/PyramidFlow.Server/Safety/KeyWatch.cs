using System.Collections.Concurrent;
using PyramidFlow.Server.Jobs;

namespace PyramidFlow.Server.Safety;

/// <summary>
/// Ends what is open when the key it was opened with is taken away: pages, streams, transfers. Pages that were opened
/// without a key end when keys come into use.
/// </summary>
internal sealed partial class KeyWatch(ApiKeys keys, ILogger<KeyWatch> log) : BackgroundService
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(0.5);
    private readonly ConcurrentDictionary<Owner, CancellationTokenSource> open = [];

    /// <summary>Is cancelled, within a second, when the owner may not use the service any more.</summary>
    public CancellationToken EndOf(Owner owner) => open.GetOrAdd(owner, _ => new CancellationTokenSource()).Token;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var couldRead = true;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                foreach (var owner in open.Keys.Where(owner => !keys.Allows(owner)))
                {
                    // Who comes in later gets another token, which is looked at next time.
                    if (open.TryRemove(owner, out var ended))
                        await ended.CancelAsync().ConfigureAwait(false);
                }

                couldRead = true;
            }
            catch (Exception e)
            {
                // Requests are refused meanwhile; one line tells it as long as it lasts.
                if (couldRead)
                    LogUnreadable(log, e.Message);
                couldRead = false;
            }

            await Task.Delay(Look, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The keys cannot be read, and nobody can use this service: {Reason}")]
    private static partial void LogUnreadable(ILogger log, string reason);
}
