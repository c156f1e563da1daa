using System.Diagnostics;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Keeps a job's lease while it is made, and tells the queue how far it is. When the lease is lost (the user cancelled, or
/// the queue could not be reached for too long) it stops the work.
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
    private volatile VideoProgress progress = new(0, GenerationPhase.Loading);

    /// <param name="store">The queue.</param>
    /// <param name="lease">The hold on the job.</param>
    /// <param name="length">How long the lease lasts without renewal.</param>
    /// <param name="signals">Told of progress; a change may be the user's wish to stop.</param>
    /// <param name="log">Takes what goes wrong.</param>
    /// <param name="stop">Stops the work from outside.</param>
    public LeaseKeeper(IJobStore store, JobLease lease, TimeSpan length, JobSignals signals, ILogger log, CancellationToken stop)
    {
        (this.store, this.lease, this.length, this.signals, this.log) = (store, lease, length, signals, log);
        lost = CancellationTokenSource.CreateLinkedTokenSource(stop);
        keeping = Task.Run(KeepAsync, CancellationToken.None);
    }

    /// <summary>Cancelled when the work is to stop.</summary>
    public CancellationToken Stop => lost.Token;

    /// <summary>Whether the job is no longer this worker's.</summary>
    public bool IsLost { get; private set; }

    /// <inheritdoc/>
    public void Report(GenerationProgress value)
    {
        // Loading a model says nothing of the speed that follows.
        if (begun == 0 && value.Phase != GenerationPhase.Loading)
            begun = Stopwatch.GetTimestamp();
        var left = value.Fraction > 0.02 ? Stopwatch.GetElapsedTime(begun).TotalSeconds * (1 - value.Fraction) / value.Fraction : (double?)null;
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
            SecondsLeft = left is { } seconds ? Math.Round(seconds, 1) : null,
        });
    }

    /// <summary>There is a newer preview picture.</summary>
    public void Previewed() => Update(now => now with { Preview = now.Preview + 1 });

    /// <summary>The live stream has so many frames.</summary>
    public void Streamed(int frames) => Update(now => now with { LiveFrames = frames });

    /// <summary>Stops renewing.</summary>
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
                // Whatever it is: without a sign of life the job would be given to another while it is made here.
                LogUnreachable(log, lease.Id, e.Message);
                IsLost = Stopwatch.GetElapsedTime(renewed) > length;
            }

            if (IsLost)
                await lost.CancelAsync().ConfigureAwait(false);
            else
                await PauseAsync(told, signal).ConfigureAwait(false);
        }
    }

    // Until there is something to tell, the user may have cancelled, or the lease needs a sign of life.
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
