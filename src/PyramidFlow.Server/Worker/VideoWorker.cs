using System.Data.Common;
using System.Diagnostics;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Worker;

/// <summary>Leases jobs from the queue and makes their videos, one at a time.</summary>
internal sealed partial class VideoWorker(
    IJobStore store, JobSignals signals, ModelCatalog catalog, LoraCatalog loras, VideoMaker maker, LoadedModel loaded, VideoFolder folder, Telemetry telemetry, LeaseRules rules,
    WorkerIdentity identity, BackgroundHealth health, ILogger<VideoWorker> log, TeamLeader? team = null) : BackgroundLoop(Part, health, log)
{
    /// <summary>Name of this loop in health reports.</summary>
    internal const string Part = "making videos";

    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(500), Patience = TimeSpan.FromSeconds(4);
    private readonly TimeSpan lease = rules.Length;

    private volatile JobLease? current;
    private volatile bool isAbandoned;

    /// <summary>
    /// Leases no more jobs and stops the current one, which returns to the queue. A computation that cannot be stopped
    /// in time (a step of a large model, the loading of one) runs on until the process ends.
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
            // The next attempt has the same number: nobody may read the files of this one as its own.
            RemoveAttempt(job);
            await store.ReleaseAsync(job, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // Its lease expires.
            LogUnreachable(log, e.Message);
        }
    }

    protected override async Task TurnAsync(CancellationToken stoppingToken)
    {
        var signal = signals.Next;
        var (models, fault) = catalog.Scan();
        if (await store.LeaseAsync(identity.Name, [.. models.Select(model => model.Id)], lease, stoppingToken, loras.Names).ConfigureAwait(false) is { } job)
        {
            ReportSuccess();
            current = job;
            await RunAsync(job, stoppingToken).ConfigureAwait(false);
            current = null;
            return;
        }

        if (fault is not null)
            throw ServiceFault.DefaultModelUnreadable();
        ReportSuccess();
        await JobSignals.WaitAsync(signal, Look, stoppingToken).ConfigureAwait(false);
    }

    private async Task RunAsync(JobLease job, CancellationToken stoppingToken)
    {
        LogBegun(log, job.Id, job.Attempt);
        var start = Stopwatch.GetTimestamp();
        using var activity = telemetry.Activities.StartActivity("make video");
        activity?.SetTag("video.id", job.Id).SetTag("video.attempt", job.Attempt).SetTag("model", job.Job.Request.Model);
        signals.Changed();
        MadeVideo? made = null;
        Exception? fault = null;
        ServiceException? broken;
        bool lost;
        await using (var keeper = new LeaseKeeper(store, job, lease, signals, log, stoppingToken))
        {
            try
            {
                // The stop may come while the job is leased.
                stoppingToken.ThrowIfCancellationRequested();
                made = await maker.MakeAsync(job.Job, keeper, new VideoDirector(store, job, keeper, log)).ConfigureAwait(false);
            }
            catch (Exception e)
            {
                fault = e;
            }

            broken = team?.End(fault);
            lost = keeper.IsLost;
        }

        if (isAbandoned)
            return;
        // The user cancelled it or another worker has it: the files are useless.
        lost = lost || !await EndAsync(job, made, fault, stoppingToken).ConfigureAwait(false);
        telemetry.Ended(job.Job.Request.Model!, lost ? "lost" : made is null ? "failed" : "completed", Stopwatch.GetElapsedTime(start));
        activity?.SetStatus(made is null && !lost ? ActivityStatusCode.Error : ActivityStatusCode.Ok);
        if (lost)
        {
            LogLost(log, job.Id);
            folder.DeleteAttempt(job.Id, job.Attempt);
        }

        if (lost || made is null)
            await RemoveUnitsAsync(job).ConfigureAwait(false);
        // A file written after the deletion of the video has created the folder again.
        if (lost)
            folder.DeleteIfEmpty(job.Id);
        signals.Changed();
        if (broken is not null)
            throw broken;
    }

    // Returns false when the lease is lost. A completed video survives a short outage of the database.
    private async Task<bool> EndAsync(JobLease job, MadeVideo? made, Exception? fault, CancellationToken stoppingToken)
    {
        for (var until = DateTime.UtcNow + lease; ;)
        {
            try
            {
                if (made is not null)
                    return await CompletedAsync(job, made).ConfigureAwait(false);
                RemoveAttempt(job);
                // Faults during the stop count as the stop: ffmpeg also receives the terminal's Ctrl-C.
                if (stoppingToken.IsCancellationRequested)
                    return await store.ReleaseAsync(job, CancellationToken.None).ConfigureAwait(false);
                if (IsAway(job, fault!))
                {
                    LogAway(log, job.Id, fault!.Message);
                    return await store.ReleaseAsync(job, CancellationToken.None).ConfigureAwait(false);
                }

                var (error, retry) = ServiceFault.Failed(fault!);
                LogFailed(log, fault!, job.Id, job.Attempt);
                return await store.FailAsync(job, error, retry, CancellationToken.None).ConfigureAwait(false);
            }
            catch (Exception e) when (e is DbException or TimeoutException && DateTime.UtcNow < until && !stoppingToken.IsCancellationRequested)
            {
                LogUnreachable(log, e.Message);
                await Task.Delay(Look, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    // A job is not at fault for its missing model or LoRA: a worker that has both takes it.
    private bool IsAway(JobLease job, Exception fault) =>
        fault is JobException { Kind: JobFaultKind.Unavailable } or JobException { Code: ServiceFault.ModelUnknownCode or ServiceFault.LoraUnknownCode }
        || (fault is CheckpointException or IOException or UnauthorizedAccessException && !catalog.Has(job.Job.Request.Model));

    private void RemoveAttempt(JobLease job)
    {
        try
        {
            folder.DeleteAttempt(job.Id, job.Attempt);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The cleanup of files removes it later.
            LogUnreachable(log, e.Message);
        }
    }

    private async Task<bool> CompletedAsync(JobLease job, MadeVideo made)
    {
        if (!await store.CompleteAsync(job, made.Result, CancellationToken.None, made.AsMade).ConfigureAwait(false))
            return false;
        LogCompleted(log, job.Id, made.Result.Seconds);
        RemoveInterim(job);
        return true;
    }

    // The next attempt goes on from the finished units. Where there is none, nobody needs them.
    private async Task RemoveUnitsAsync(JobLease job)
    {
        try
        {
            if (await store.FindAsync(job.Id, CancellationToken.None).ConfigureAwait(false) is not { HasEnded: false })
                folder.DeleteUnits(job.Id);
        }
        catch (Exception e) when (e is DbException or TimeoutException or IOException or UnauthorizedAccessException)
        {
            // The cleanup of files removes them later.
            LogUnreachable(log, e.Message);
        }
    }

    private void RemoveInterim(JobLease job)
    {
        try
        {
            folder.DeleteUnits(job.Id);
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

    [LoggerMessage(Level = LogLevel.Information, Message = "{Id}: cancelled, or leased by another worker")]
    private static partial void LogLost(ILogger log, string id);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Id}: its model or a LoRA is unavailable, so the job returns to the queue: {Reason}")]
    private static partial void LogAway(ILogger log, string id, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Id}: the job could not be stopped in time and returns to the queue")]
    private static partial void LogAbandoned(ILogger log, string id);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Id}: attempt {Attempt} failed")]
    private static partial void LogFailed(ILogger log, Exception fault, string id, int attempt);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The queue or its folder cannot be used: {Reason}")]
    private static partial void LogUnreachable(ILogger log, string reason);
}

/// <summary>
/// Renews a job's lease while it is made, and stores its progress. When the lease is lost (the user cancelled, or the
/// queue was unreachable for too long) it stops the work.
/// </summary>
internal sealed partial class LeaseKeeper : IProgress<GenerationProgress>, IAsyncDisposable
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(200);
    private readonly IJobStore store;
    private readonly JobLease lease;
    private readonly JobSignals signals;
    private readonly TimeSpan length;
    private readonly ILogger log;
    private readonly CancellationTokenSource lost;
    private readonly CancellationTokenSource done = new();
    private readonly Task keeping;
    private long begun;
    private double resumedShare;
    private volatile VideoProgress progress = new(0, GenerationPhase.Loading);

    /// <param name="store">The queue.</param>
    /// <param name="lease">The lease.</param>
    /// <param name="length">Duration of the lease without renewal.</param>
    /// <param name="signals">Signals of changes, for example that the user cancelled; progress is signalled too.</param>
    /// <param name="log">Receives faults.</param>
    /// <param name="stoppingToken">Stops the work.</param>
    public LeaseKeeper(IJobStore store, JobLease lease, TimeSpan length, JobSignals signals, ILogger log, CancellationToken stoppingToken)
    {
        (this.store, this.lease, this.length, this.signals, this.log) = (store, lease, length, signals, log);
        lost = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken);
        keeping = Task.Run(KeepAsync, CancellationToken.None);
    }

    /// <summary>Cancelled when the work must stop.</summary>
    public CancellationToken Stop => lost.Token;

    /// <summary>Whether this worker has lost the job.</summary>
    public bool IsLost { get; private set; }

    /// <inheritdoc/>
    public void Report(GenerationProgress value)
    {
        // The time for loading a model does not count towards the speed, and neither does what an earlier attempt has made.
        if (begun == 0 && value.Phase != GenerationPhase.Loading)
            (begun, resumedShare) = (Stopwatch.GetTimestamp(), value.Fraction);
        var made = value.Fraction - resumedShare;
        var left = made > 0.02 ? Stopwatch.GetElapsedTime(begun).TotalSeconds * (1 - value.Fraction) / made : (double?)null;
        Update(now => now with
        {
            Fraction = value.Fraction,
            Phase = value.Phase,
            Unit = value.Unit,
            Units = value.Units,
            Stage = value.Stage,
            Stages = value.Stages,
            Step = value.Step,
            Steps = value.Steps,
            // A unit is kept before the next one begins. Those that an earlier attempt has kept may not have been reported by it.
            FinishedUnits = Math.Max(now.FinishedUnits, value.Phase == GenerationPhase.Denoising ? Math.Max(value.Unit, value.ResumedUnits) : value.ResumedUnits),
            ResumedFrom = value.ResumedUnits > 0 ? value.ResumedUnits : null,
            SecondsLeft = left is { } seconds ? Math.Round(seconds, 1) : null,
        });
    }

    /// <summary>Reports a new preview picture.</summary>
    public void Previewed() => Update(now => now with { Preview = now.Preview + 1 });

    /// <summary>Reports the number of frames in the live stream.</summary>
    public void Streamed(int frames) => Update(now => now with { LiveFrames = frames });

    /// <summary>Stops the work, because somebody has seen that the lease is lost.</summary>
    public async Task LoseAsync()
    {
        IsLost = true;
        await lost.CancelAsync().ConfigureAwait(false);
    }

    /// <summary>Stops the renewal.</summary>
    public async ValueTask DisposeAsync()
    {
        await done.CancelAsync().ConfigureAwait(false);
        await keeping.ConfigureAwait(false);
        done.Dispose();
        lost.Dispose();
    }

    private void Update(Func<VideoProgress, VideoProgress> change)
    {
        lock (done)
            progress = change(progress);
    }

    private async Task KeepAsync()
    {
        VideoProgress? told = null;
        var renewed = Stopwatch.GetTimestamp();
        while (!done.IsCancellationRequested && !IsLost)
        {
            var signal = signals.Next;
            var now = progress;
            try
            {
                if (!await store.RenewAsync(lease, now == told ? null : now, length, done.Token).ConfigureAwait(false))
                    IsLost = true;
                else if (now != told)
                    signals.Changed();
                (told, renewed) = (now, Stopwatch.GetTimestamp());
            }
            catch (OperationCanceledException) when (done.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // Any fault counts: without renewal the job would be leased to another worker while it is made here.
                LogUnreachable(log, lease.Id, e.Message);
                IsLost = Stopwatch.GetElapsedTime(renewed) > length;
            }

            if (IsLost)
                await lost.CancelAsync().ConfigureAwait(false);
            else
                await PauseAsync(told, signal).ConfigureAwait(false);
        }
    }

    // Waits until there is progress to store, a signal, or the lease needs renewal.
    private async Task PauseAsync(VideoProgress? told, Task signal)
    {
        var until = TimeSpan.FromMilliseconds(Math.Min(1000, length.TotalMilliseconds / 4));
        var start = Stopwatch.GetTimestamp();
        try
        {
            do
                await Task.Delay(Tick, done.Token).ConfigureAwait(false);
            while (progress == told && !signal.IsCompleted && Stopwatch.GetElapsedTime(start) < until);
        }
        catch (OperationCanceledException)
        {
            // The work is done.
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Id}: the queue cannot be reached: {Reason}")]
    private static partial void LogUnreachable(ILogger log, string id, string reason);
}
