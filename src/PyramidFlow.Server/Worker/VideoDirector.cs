using System.Data.Common;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Gives the changes of a video, which users send to any server, to the worker that makes it: at the begin of each unit it asks the queue, where the unit is noted and the changes are read at once.
/// While the queue cannot be reached the unit waits, at most until the lease is lost.
/// </summary>
/// <param name="store">The queue.</param>
/// <param name="lease">The lease on the video.</param>
/// <param name="log">Receives faults.</param>
internal sealed partial class VideoDirector(IJobStore store, JobLease lease, ILogger log) : IClipDirector
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(500);

    /// <summary>All changes up to the unit that began last, also in an earlier attempt.</summary>
    public IReadOnlyList<ClipChange> Changes { get; private set; } = lease.Job.Live is { } live ? [.. live.Changes.Where(change => change.FromUnit <= live.Unit)] : [];

    /// <inheritdoc/>
    public ClipChange? Begin(int unit, int units, CancellationToken cancellationToken)
    {
        // Units are sampled on a thread of their own, which has nothing else to do.
        if (AskAsync(unit, units, cancellationToken).GetAwaiter().GetResult() is { } live)
            Changes = [.. live.Changes.Where(change => change.FromUnit <= unit)];
        return ClipChanges.Of(Changes, unit);
    }

    private async Task<VideoLive?> AskAsync(int unit, int units, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await store.BeginUnitAsync(lease, unit, units, cancellationToken).ConfigureAwait(false);
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
