using System.Data.Common;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Gives the changes of a video, which users send to any server, to the worker that makes it: at the begin of each unit it asks the queue, where the unit is noted and the changes are read at once.
/// While the queue cannot be reached the unit waits, at most until the lease is lost; a lost lease stops the work.
/// </summary>
/// <param name="store">The queue.</param>
/// <param name="lease">The lease on the video.</param>
/// <param name="keeper">Stops the work when the lease is lost.</param>
/// <param name="log">Receives faults.</param>
internal sealed partial class VideoDirector(IJobStore store, JobLease lease, LeaseKeeper keeper, ILogger log) : IClipDirector
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(500);

    /// <summary>All changes up to the unit that began last, also in an earlier attempt.</summary>
    public IReadOnlyList<ClipChange> Changes { get; private set; } = lease.Job.Live is { } live ? [.. live.Changes.Where(change => change.FromUnit <= live.Unit)] : [];

    /// <inheritdoc/>
    public ClipChange? Begin(int unit, int units, CancellationToken cancellationToken)
    {
        // Units are sampled on a thread of their own, which has nothing else to do.
        var live = AskAsync(unit, units, cancellationToken).GetAwaiter().GetResult();
        Changes = [.. live.Changes.Where(change => change.FromUnit <= unit)];
        return ClipChanges.Of(Changes, unit);
    }

    /// <summary>
    /// Takes all changes that were accepted in an earlier attempt, and no others from now on: for several processes that make the video together, of which only this one has the queue. They begin with all units at once.
    /// </summary>
    /// <param name="units">Number of planned units.</param>
    /// <param name="cancellationToken">Ends the waiting for the queue.</param>
    public async Task<KnownChanges> FixAsync(int units, CancellationToken cancellationToken)
    {
        Changes = (await AskAsync(units, units, cancellationToken).ConfigureAwait(false)).Changes;
        return new KnownChanges(Changes);
    }

    private async Task<VideoLive> AskAsync(int unit, int units, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                if (await store.BeginUnitAsync(lease, unit, units, cancellationToken).ConfigureAwait(false) is { } live)
                    return live;
                await keeper.LoseAsync().ConfigureAwait(false);
                throw new OperationCanceledException("the lease on the video is lost", keeper.Stop);
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                LogUnreachable(log, lease.Id, unit, e.Message);
                await Task.Delay(Pause, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Id}: unit {Unit} waits, because the queue cannot be reached: {Reason}")]
    private static partial void LogUnreachable(ILogger log, string id, int unit, string reason);
}
