using System.Data.Common;
using PyramidFlow.Server.Files;
using PyramidFlow.Server.Store;

namespace PyramidFlow.Server.Work;

/// <summary>Takes back jobs of dead workers, removes files nobody owns, and what is older or more than is to be kept.</summary>
internal sealed partial class QueueCare(IJobStore store, JobSignals signals, FileCare files, ServerOptions options, ILogger<QueueCare> log) : BackgroundService
{
    private static readonly TimeSpan Sweep = TimeSpan.FromMinutes(1), Remembered = TimeSpan.FromHours(1);

    // Often enough that a dead worker's job waits little longer than its lease.
    private readonly TimeSpan look = TimeSpan.FromSeconds(Math.Clamp(options.LeaseSeconds / 10, 0.05, 3));

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var swept = DateTime.MinValue;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (await store.ReapAsync(stoppingToken).ConfigureAwait(false) is > 0 and var count)
                {
                    LogReaped(log, count);
                    signals.Changed();
                }

                if (DateTime.UtcNow - swept > Sweep)
                {
                    swept = DateTime.UtcNow;
                    await store.PurgeAsync(Remembered, stoppingToken).ConfigureAwait(false);
                    await files.CareAsync(stoppingToken).ConfigureAwait(false);
                }
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is DbException or IOException or UnauthorizedAccessException)
            {
                LogFailed(log, e.Message);
            }

            await Task.Delay(look, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Count} videos were taken back from workers that give no sign of life")]
    private static partial void LogReaped(ILogger log, int count);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The care of queue and files was put off: {Reason}")]
    private static partial void LogFailed(ILogger log, string reason);
}
