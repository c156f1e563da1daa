using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>Returns jobs of dead workers to the queue, and removes files without a video and videos beyond the retention limits.</summary>
internal sealed partial class QueueMaintenance(IJobStore store, IWebhookStore webhooks, JobSignals signals, FileCleanup files, LeaseRules rules, BackgroundHealth health, ILogger<QueueMaintenance> log)
    : BackgroundLoop("queue maintenance", health, log)
{
    private const string Files = "file cleanup";
    private static readonly TimeSpan Sweep = TimeSpan.FromMinutes(1), Remembered = TimeSpan.FromHours(1);

    // Longer than all tries of an announcement together.
    private static readonly TimeSpan Announced = TimeSpan.FromHours(48);

    // Frequent enough that a dead worker's job waits little longer than its lease.
    private readonly TimeSpan look = TimeSpan.FromSeconds(Math.Clamp(rules.Length.TotalSeconds / 10, 0.05, 3));

    private DateTime swept = DateTime.MinValue;

    protected override async Task TurnAsync(CancellationToken stoppingToken)
    {
        if (await store.ReapAsync(stoppingToken).ConfigureAwait(false) is > 0 and var count)
        {
            LogReaped(log, count);
            signals.Changed();
        }

        if (DateTime.UtcNow - swept > Sweep)
        {
            await store.PurgeAsync(Remembered, stoppingToken).ConfigureAwait(false);
            await webhooks.PurgeWebhooksAsync(Announced, stoppingToken).ConfigureAwait(false);
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

    [LoggerMessage(Level = LogLevel.Warning, Message = "The cleanup of files is postponed: {Reason}")]
    private static partial void LogFailed(ILogger log, string reason);
}
