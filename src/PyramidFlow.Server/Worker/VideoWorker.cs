using System.Data.Common;
using System.Diagnostics;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Worker;

/// <summary>Takes jobs from the queue and makes them, one at a time.</summary>
internal sealed partial class VideoWorker(
    IJobStore store, JobSignals signals, ModelCatalog catalog, VideoMaker maker, LoadedModel loaded, VideoFolder folder, Telemetry telemetry, ServerOptions options,
    BackgroundHealth health, ILogger<VideoWorker> log) : BackgroundLoop("making videos", health, log)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(500), Patience = TimeSpan.FromSeconds(4);
    private readonly TimeSpan lease = TimeSpan.FromSeconds(options.LeaseSeconds);
    private readonly string name = $"{Environment.MachineName}-{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..8]}";

    private volatile JobLease? current;
    private volatile bool isAbandoned;

    /// <summary>
    /// Takes no more jobs and stops the one that is made, which goes back into the queue. A computation that cannot be
    /// stopped in time (a step of a large model, the loading of one) is left to the end of the process.
    /// </summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(Patience);
        await base.StopAsync(patience.Token).ConfigureAwait(false);
        if (ExecuteTask is not { IsCompleted: false } || current is not { } job)
            return;
        isAbandoned = true;
        loaded.Abandon();
        LogAbandoned(log, job.Id);
        try
        {
            await store.ReleaseAsync(job, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // Its lease runs out.
            LogUnreachable(log, e.Message);
        }
    }

    protected override async Task TurnAsync(CancellationToken stop)
    {
        var signal = signals.Next;
        var (models, trouble) = catalog.Look();
        if (await store.LeaseAsync(name, [.. models.Select(model => model.Id)], lease, stop).ConfigureAwait(false) is { } job)
        {
            Works();
            current = job;
            await RunAsync(job, stop).ConfigureAwait(false);
            current = null;
            return;
        }

        if (trouble is not null)
            throw new JobException(JobFault.Unavailable, "the default model cannot be read");
        Works();
        await JobSignals.WaitAsync(signal, Look, stop).ConfigureAwait(false);
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
                // Told to stop while it was taken.
                stop.ThrowIfCancellationRequested();
                result = await maker.MakeAsync(job.Job, keeper).ConfigureAwait(false);
            }
            catch (Exception e)
            {
                fault = e;
            }

            lost = keeper.IsLost;
        }

        if (isAbandoned)
            return;
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
                RemoveAttempt(job);
                // What goes wrong while it stops counts no more than the stop itself: ffmpeg gets the terminal's Ctrl-C too.
                if (stop.IsCancellationRequested)
                    return await store.ReleaseAsync(job, CancellationToken.None).ConfigureAwait(false);
                if (IsAway(job, fault!))
                {
                    LogAway(log, job.Id, fault!.Message);
                    return await store.ReleaseAsync(job, CancellationToken.None).ConfigureAwait(false);
                }

                var (error, retry) = JobFaults.Of(fault!);
                LogFailed(log, fault!, job.Id, job.Attempt);
                return await store.FailAsync(job, error, retry, CancellationToken.None).ConfigureAwait(false);
            }
            catch (Exception e) when (e is DbException or TimeoutException && DateTime.UtcNow < until && !stop.IsCancellationRequested)
            {
                LogUnreachable(log, e.Message);
                await Task.Delay(Look, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    // A job whose model has gone is not at fault: who has the model takes it, here or elsewhere.
    private bool IsAway(JobLease job, Exception fault) =>
        fault is JobException { Fault: JobFault.Unavailable } or JobException { Parameter: "model" }
        || (fault is CheckpointException or IOException or UnauthorizedAccessException && !catalog.Has(job.Job.Request.Model));

    private void RemoveAttempt(JobLease job)
    {
        try
        {
            folder.DeleteAttempt(job.Id, job.Attempt);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The care of files comes by later.
            LogUnreachable(log, e.Message);
        }
    }

    private async Task<bool> CompletedAsync(JobLease job, VideoResult result)
    {
        if (!await store.CompleteAsync(job, result, CancellationToken.None).ConfigureAwait(false))
            return false;
        LogCompleted(log, job.Id, result.Seconds);
        RemoveLive(job);
        return true;
    }

    private void RemoveLive(JobLease job)
    {
        try
        {
            File.Delete(folder.Live(job.Id, job.Attempt));
            File.Delete(folder.Preview(job.Id, job.Attempt));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            LogUnreachable(log, e.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Id}: attempt {Attempt} begins")]
    private static partial void LogBegun(ILogger log, string id, int attempt);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Id}: made in {Seconds:F1} s")]
    private static partial void LogCompleted(ILogger log, string id, double seconds);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Id}: it was cancelled or is another's now")]
    private static partial void LogLost(ILogger log, string id);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Id}: its model is away, so it waits again: {Reason}")]
    private static partial void LogAway(ILogger log, string id, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Id}: it could not be stopped in time; it goes back into the queue")]
    private static partial void LogAbandoned(ILogger log, string id);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Id}: attempt {Attempt} failed")]
    private static partial void LogFailed(ILogger log, Exception fault, string id, int attempt);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The queue or its folder cannot be used: {Reason}")]
    private static partial void LogUnreachable(ILogger log, string reason);
}
