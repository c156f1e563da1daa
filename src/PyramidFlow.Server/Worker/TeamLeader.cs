using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Leads the processes that make each video together with this one, which has the queue. While there is no video it sends them heartbeats, so that they can wait for hours and
/// still notice when it is gone. When one of them is gone, this process ends too: whoever has started them starts all of them again.
/// </summary>
internal sealed partial class TeamLeader : BackgroundLoop
{
    private const string Part = "the processes that make videos together";

    // Three heartbeats in each limit: one that is late does not end the group.
    private const int HeartbeatsPerLimit = 3;

    private const int None = int.MaxValue;

    private static readonly TimeSpan MostPause = TimeSpan.FromSeconds(5), Patience = TimeSpan.FromSeconds(5);

    private readonly ProcessGroup group;
    private readonly TeamChannel channel;
    private readonly ILogger<TeamLeader> log;
    private readonly SemaphoreSlim turn = new(1);
    private readonly Lock telling = new();
    private volatile int runBefore = None;
    private volatile bool isEnded, isBroken;
    private bool isMaking;

    /// <param name="parallel">The processes.</param>
    /// <param name="health">Receives the outcome of every heartbeat.</param>
    /// <param name="log">Receives failures.</param>
    public TeamLeader(VideoParallel parallel, BackgroundHealth health, ILogger<TeamLeader> log)
        : base(Part, health, log) => (group, channel, this.log) = (parallel.Group, new TeamChannel(parallel.Group), log);

    /// <summary>Begins a video in all processes; <see cref="End"/> ends it, whatever happens.</summary>
    /// <param name="job">The video.</param>
    /// <param name="load">Loads its model in this process.</param>
    /// <exception cref="ServiceException">Another process has not the model, or cannot load it.</exception>
    /// <exception cref="ProcessGroupException">A process is gone.</exception>
    public VideoPipeline Begin(TeamJob job, Func<VideoPipeline> load)
    {
        turn.Wait();
        isMaking = true;
        if (isEnded)
            throw isBroken ? ServiceFault.ProcessesBroken(new InvalidOperationException("a process is gone")) : new OperationCanceledException("the service stops");
        Tell(TeamCall.Make, job);
        VideoPipeline? pipeline = null;
        Exception? fault = null;
        try
        {
            pipeline = load();
        }
        catch (Exception e)
        {
            fault = e;
        }

        channel.AgreeOnStart(fault);
        runBefore = group.Stops.Run;
        return pipeline!;
    }

    /// <summary>Ends what <see cref="Begin"/> began. Harmless where that was not called.</summary>
    /// <param name="fault">The error that ended the video; null where there was none.</param>
    /// <returns>The reason why the processes cannot make another one together; null where they can.</returns>
    public ServiceException? End(Exception? fault)
    {
        if (!isMaking)
            return null;

        // The others have begun the run.
        if (runBefore == group.Stops.Run)
            group.Stops.End(isInStep: false);
        isBroken |= group.Stops.IsBroken || fault is ProcessGroupException { Code: not ProcessGroupFault.DiffersCode };
        (isMaking, runBefore) = (false, None);
        if (!isBroken)
        {
            turn.Release();
            return null;
        }

        // The turn is kept: nobody talks to them any more.
        isEnded = true;
        var broken = ServiceFault.ProcessesBroken(fault ?? new InvalidOperationException("a process did not begin the video"));
        Health.ReportFailure(Part, broken.Message);
        return broken;
    }

    /// <summary>Ends the other processes, unless a video is being made that cannot be stopped: they notice that this process is gone.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken).ConfigureAwait(false);
        if (isEnded)
            return;
        isEnded = true;
        if (!await turn.WaitAsync(Patience, CancellationToken.None).ConfigureAwait(false))
        {
            // The video goes on in a thread of its own until the process ends, and with it the group.
            group.Stops.End(isInStep: false);
            return;
        }

        try
        {
            Tell(TeamCall.End);
        }
        catch (ProcessGroupException e)
        {
            LogGone(log, e.Message);
        }
        finally
        {
            turn.Release();
        }
    }

    protected override async Task TurnAsync(CancellationToken stoppingToken)
    {
        // The steps of a video are heartbeats until it is sampled; the rest of its frames may take long to decode and write.
        var isFree = await turn.WaitAsync(TimeSpan.Zero, stoppingToken).ConfigureAwait(false);
        try
        {
            lock (telling)
            {
                if (isFree || (runBefore < group.Stops.Run && group.Stops.IsIdle))
                {
                    channel.Send(TeamCall.Wait);
                    ReportSuccess();
                }
            }
        }
        catch (ProcessGroupException e)
        {
            isEnded = isBroken = true;
            throw ServiceFault.ProcessesBroken(e);
        }
        finally
        {
            if (isFree)
                turn.Release();
        }

        var pause = group.Limit / HeartbeatsPerLimit;
        await Task.Delay(pause < MostPause ? pause : MostPause, stoppingToken).ConfigureAwait(false);
    }

    private void Tell(TeamCall call, TeamJob? job = null)
    {
        lock (telling)
            channel.Send(call, job);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The other processes could not be told to end: {Reason}")]
    private static partial void LogGone(ILogger log, string reason);
}
