using System.Text.Json;
using PyramidFlow.Server.Domain;
using static PyramidFlow.Server.Storage.JobRow;

namespace PyramidFlow.Server.Storage;

/// <content>Changes of videos while they are made. Each transaction takes a revision first, which serialises them: a unit begins either before a change or after it.</content>
internal sealed partial class SqlJobStore
{
    public async Task<VideoLive?> BeginUnitAsync(JobLease lease, int unit, int units, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        var revision = await session.NextRevisionAsync(cancellationToken).ConfigureAwait(false);
        if ((await session.RowsAsync($"SELECT live FROM videos WHERE {Held}", Live, cancellationToken, Identity(lease)).ConfigureAwait(false)) is not [var known])
            return null;
        // A later attempt begins at an earlier unit; changes of units after it still hold.
        var live = new VideoLive(unit, units, known?.Changes ?? []);
        await SetLiveAsync(session, lease.Id, live, revision, cancellationToken).ConfigureAwait(false);
        return live;
    }

    public async Task<VideoLive> ChangeLiveAsync(string id, LiveChange change, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        var revision = await session.NextRevisionAsync(cancellationToken).ConfigureAwait(false);
        var jobs = await session.RowsAsync($"SELECT {JobSchema.Columns} FROM videos WHERE id = @id AND status <> '{Deleted}'", Read, cancellationToken, ("id", id)).ConfigureAwait(false);
        var job = jobs.FirstOrDefault() ?? throw ServiceFault.VideoUnknown();
        if (job is not { Status: VideoStatus.InProgress, Live: { } known })
            throw ServiceFault.NotChangeable(job);
        if (known.IsFixed)
            throw ServiceFault.MadeTogether();
        var live = known.With(change);
        await SetLiveAsync(session, id, live, revision, cancellationToken).ConfigureAwait(false);
        return live;
    }

    // Once committed, a change counts: cancelling the commit would leave that open.
    private static async Task SetLiveAsync(SqlSession session, string id, VideoLive live, long revision, CancellationToken cancellationToken)
    {
        await session.ExecuteAsync("UPDATE videos SET live = @live, revision = @revision WHERE id = @id", cancellationToken,
            ("live", JsonSerializer.Serialize(live, StoreJson.Default.VideoLive)), ("revision", revision), ("id", id)).ConfigureAwait(false);
        await session.CommitAsync(CancellationToken.None).ConfigureAwait(false);
    }
}
