using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>Returns jobs of dead workers to the queue, and removes files without a video and videos beyond the retention limits.</summary>
internal sealed partial class QueueMaintenance(IJobStore store, IWebhookStore webhooks, JobSignals signals, FileCleanup files, LeaseRules rules, BackgroundHealth health, ILogger<QueueMaintenance> log)
    : BackgroundLoop("queue maintenance", health, log)
{
    private const string Files = "file cleanup";
    private static readonly TimeSpan Sweep = TimeSpan.FromMinutes(1), Remembered = TimeSpan.FromHours(1), Interruption = TimeSpan.FromHours(1);

    // An announcement that is due for so long, while servers run, is sent by none of them.
    private static readonly TimeSpan Unsent = TimeSpan.FromHours(48);

    // Frequent enough that a dead worker's job waits little longer than its lease.
    private readonly TimeSpan look = TimeSpan.FromSeconds(Math.Clamp(rules.Length.TotalSeconds / 10, 0.05, 3));

    // Since when the sweeps follow one another: the start of this process, or the end of a time in which it or the database was away.
    private DateTime swept = DateTime.MinValue, steady;

    protected override async Task TurnAsync(CancellationToken stoppingToken)
    {
        if (await store.ReapAsync(stoppingToken).ConfigureAwait(false) is > 0 and var count)
        {
            LogReaped(log, count);
            signals.Changed();
        }

        if (DateTime.UtcNow - swept > Sweep)
        {
            if (DateTime.UtcNow - swept > Interruption)
                steady = DateTime.UtcNow;
            await store.PurgeAsync(Remembered, stoppingToken).ConfigureAwait(false);
            // What became due while all servers were away is sent first.
            if (DateTime.UtcNow - steady > Unsent && await webhooks.PurgeWebhooksAsync(Unsent, stoppingToken).ConfigureAwait(false) is > 0 and var removed)
                LogUnsent(log, removed, Unsent.TotalHours);
            await SweepAsync(stoppingToken).ConfigureAwait(false);
            swept = DateTime.UtcNow;
        }

        ReportSuccess();
        await Task.Delay(look, stoppingToken).ConfigureAwait(false);
    }

    // A file that cannot be removed must not stop the service.
    private async Task SweepAsync(CancellationToken stoppingToken)
    {
        try
        {
            await files.CleanAsync(stoppingToken).ConfigureAwait(false);
            Health.ReportSuccess(Files);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Health.ReportFailure(Files, "a file or folder cannot be read or removed, the log names it", isVital: false);
            LogFailed(log, e.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Count} videos of unresponsive workers were returned to the queue")]
    private static partial void LogReaped(ILogger log, int count);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Count} announcements of ended videos that no server has sent for {Hours} hours were removed")]
    private static partial void LogUnsent(ILogger log, int count, double hours);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The cleanup of files is postponed: {Reason}")]
    private static partial void LogFailed(ILogger log, string reason);
}
