using System.Data.Common;
using System.Diagnostics;
using PyramidFlow.Server.Files;
using PyramidFlow.Server.Jobs;
using PyramidFlow.Server.Store;

namespace PyramidFlow.Server.Work;

/// <summary>Takes jobs from the queue and makes them, one at a time.</summary>
internal sealed partial class VideoWorker(
    IJobStore store, JobSignals signals, ModelCatalog catalog, VideoMaker maker, VideoFolder folder, Telemetry telemetry, ServerOptions options,
    ILogger<VideoWorker> log) : BackgroundService
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(500);
    private readonly TimeSpan lease = TimeSpan.FromSeconds(options.LeaseSeconds);
    private readonly string name = $"{Environment.MachineName}-{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..8]}";

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            var signal = signals.Next;
            try
            {
                if (await store.LeaseAsync(name, [.. catalog.All().Select(model => model.Id)], lease, stoppingToken).ConfigureAwait(false) is { } job)
                    await RunAsync(job, stoppingToken).ConfigureAwait(false);
                else
                    await JobSignals.WaitAsync(signal, Look, stoppingToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is DbException or IOException or UnauthorizedAccessException)
            {
                // Its lease runs out, and it is tried again here or elsewhere.
                LogUnreachable(log, e.Message);
                await Task.Delay(Look, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task RunAsync(JobLease job, CancellationToken stop)
    {
        LogBegun(log, job.Id, job.Attempt);
        var start = Stopwatch.GetTimestamp();
        using var activity = telemetry.Activities.StartActivity("make video");
        activity?.SetTag("video.id", job.Id).SetTag("video.attempt", job.Attempt).SetTag("model", job.Job.Request.Model);
        signals.Changed();
        VideoResult? result = null;
        Exception? fault = null;
        bool lost;
        await using (var keeper = new LeaseKeeper(store, job, lease, signals, log, stop))
        {
            try
            {
                result = await maker.MakeAsync(job.Job, keeper).ConfigureAwait(false);
            }
            catch (Exception e)
            {
                fault = e;
            }

            lost = keeper.IsLost;
        }

        // The user cancelled, or another has it: what was made is in nobody's way, but of no use.
        lost = lost || !await EndAsync(job, result, fault, stop).ConfigureAwait(false);
        telemetry.Ended(job.Job.Request.Model!, lost ? "lost" : result is null ? "failed" : "completed", Stopwatch.GetElapsedTime(start));
        activity?.SetStatus(result is null && !lost ? ActivityStatusCode.Error : ActivityStatusCode.Ok);
        if (lost)
        {
            LogLost(log, job.Id);
            folder.DeleteAttempt(job.Id, job.Attempt);
            // When its video was deleted, a file written after that has made the folder anew.
            folder.DeleteIfEmpty(job.Id);
        }

        signals.Changed();
    }

    // Gives false when the lease is lost. What was made is not thrown away because the database is away for a moment.
    private async Task<bool> EndAsync(JobLease job, VideoResult? result, Exception? fault, CancellationToken stop)
    {
        for (var until = DateTime.UtcNow + lease; ;)
        {
            try
            {
                if (result is not null)
                    return await CompletedAsync(job, result).ConfigureAwait(false);
                folder.DeleteAttempt(job.Id, job.Attempt);
                if (fault is OperationCanceledException && stop.IsCancellationRequested)
                    return await store.ReleaseAsync(job, CancellationToken.None).ConfigureAwait(false);
                var (error, retry) = JobFaults.Of(fault!);
                LogFailed(log, fault!, job.Id, job.Attempt);
                return await store.FailAsync(job, error, retry, CancellationToken.None).ConfigureAwait(false);
            }
            catch (DbException e) when (DateTime.UtcNow < until)
            {
                LogUnreachable(log, e.Message);
                await Task.Delay(Look, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    private async Task<bool> CompletedAsync(JobLease job, VideoResult result)
    {
        if (!await store.CompleteAsync(job, result, CancellationToken.None).ConfigureAwait(false))
            return false;
        LogCompleted(log, job.Id, result.Seconds);
        File.Delete(folder.Live(job.Id, job.Attempt));
        File.Delete(folder.Preview(job.Id, job.Attempt));
        return true;
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Id}: attempt {Attempt} begins")]
    private static partial void LogBegun(ILogger log, string id, int attempt);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Id}: made in {Seconds:F1} s")]
    private static partial void LogCompleted(ILogger log, string id, double seconds);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Id}: it was cancelled or is another's now")]
    private static partial void LogLost(ILogger log, string id);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Id}: attempt {Attempt} failed")]
    private static partial void LogFailed(ILogger log, Exception fault, string id, int attempt);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The queue or its folder cannot be used: {Reason}")]
    private static partial void LogUnreachable(ILogger log, string reason);
}
