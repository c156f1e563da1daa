using System.Text.Json;
using PyramidFlow.Server.Jobs;
using static PyramidFlow.Server.Store.JobRow;

namespace PyramidFlow.Server.Store;

/// <summary>Jobs in SQLite or PostgreSQL: what is read. Leases are in <c>SqlJobStore.Leases.cs</c>.</summary>
/// <param name="dialect">Which database; the store disposes it.</param>
/// <param name="rules">How often a job is tried and how long it waits between.</param>
internal sealed partial class SqlJobStore(SqlDialect dialect, RetryRules rules) : IJobStore
{
    public async Task InitializeAsync(CancellationToken cancel)
    {
        await using (var alone = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false))
        {
            foreach (var sql in dialect.Prepare)
                await alone.ExecuteAsync(sql, cancel).ConfigureAwait(false);
        }

        await using var session = await SqlSession.WriteAsync(dialect, cancel).ConfigureAwait(false);
        foreach (var sql in dialect.Exclusive.Append(JobSchema.Create))
            await session.ExecuteAsync(sql, cancel).ConfigureAwait(false);
        await session.CommitAsync(cancel).ConfigureAwait(false);
    }

    public async Task<(VideoJob Job, bool IsNew)> AddAsync(NewJob job, CancellationToken cancel)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancel).ConfigureAwait(false);
        // Taken first: it makes additions wait for each other, so that two cannot both be the last one allowed.
        var revision = await session.NextRevisionAsync(cancel).ConfigureAwait(false);
        if (await ByKeyAsync(session, job, cancel).ConfigureAwait(false) is { } earlier)
            return (earlier, false);
        var active = await session.ValueAsync<long>($"SELECT COUNT(*) FROM videos WHERE owner = @owner AND status IN ('{Queued}', '{InProgress}')", cancel,
            ("owner", job.Owner.Name)).ConfigureAwait(false);
        if (active >= job.MaxActive)
            throw new JobException(JobFault.TooMany, $"{active} of your videos wait or are being made, and no more are allowed: wait for one to end, or cancel one");
        var rows = await session.RowsAsync(
            $"INSERT INTO videos (id, owner, seq, revision, status, model, work, created, idempotency_key, fingerprint, request) "
            + $"VALUES (@id, @owner, @revision, @revision, '{Queued}', @model, @work, {dialect.Now}, @key, @fingerprint, @request) RETURNING {JobSchema.Columns}",
            Read, cancel, ("id", job.Id), ("owner", job.Owner.Name), ("revision", revision), ("model", job.Request.Model),
            ("work", RequestWork.Of(job.Request)), ("key", job.IdempotencyKey), ("fingerprint", job.Fingerprint),
            ("request", JsonSerializer.Serialize(job.Request, StoreJson.Default.VideoRequest))).ConfigureAwait(false);
        await session.CommitAsync(cancel).ConfigureAwait(false);
        return (rows[0], true);
    }

    public async Task<VideoJob?> FindByKeyAsync(NewJob job, CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        return await ByKeyAsync(session, job, cancel).ConfigureAwait(false);
    }

    public async Task<VideoJob?> FindAsync(string id, CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        var rows = await session.RowsAsync($"SELECT {JobSchema.Columns} FROM videos WHERE id = @id AND status <> '{Deleted}'", Read, cancel, ("id", id)).ConfigureAwait(false);
        return rows.FirstOrDefault();
    }

    public async Task<IReadOnlyList<VideoJob>?> ListAsync(Owner owner, VideoQuery query, CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        var (order, beyond, from) = query.OldestFirst ? ("ASC", ">", 0L) : ("DESC", "<", long.MaxValue);
        if (query.After is not null)
        {
            from = await session.ValueAsync<long>("SELECT seq FROM videos WHERE id = @id AND owner = @owner", cancel, ("id", query.After), ("owner", owner.Name)).ConfigureAwait(false);
            if (from == 0)
                return null;
        }

        return await session.RowsAsync(
            $"SELECT {JobSchema.Columns} FROM videos WHERE owner = @owner AND status <> '{Deleted}' AND seq {beyond} @from ORDER BY seq {order} LIMIT @limit",
            Read, cancel, ("owner", owner.Name), ("from", from), ("limit", query.Limit + 1L)).ConfigureAwait(false);
    }

    public async Task<IReadOnlyList<StoredChange>> ChangesAsync(long after, CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        return await session.RowsAsync($"SELECT {JobSchema.Columns} FROM videos WHERE revision > @after ORDER BY revision",
            row => new StoredChange(row.GetString(0), new Owner(row.GetString(1)), row.GetInt64(2), row.GetString(3) == Deleted ? null : Read(row)),
            cancel, ("after", after)).ConfigureAwait(false);
    }

    public async Task<long> RevisionAsync(CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        return await session.ValueAsync<long>("SELECT value FROM counters WHERE name = 'revision'", cancel).ConfigureAwait(false);
    }

    public async Task<IReadOnlyList<QueueEntry>> QueueAsync(CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        return await session.RowsAsync($"SELECT id, status, work, seconds_left FROM videos WHERE status IN ('{Queued}', '{InProgress}') ORDER BY seq",
            row => new QueueEntry(row.GetString(0), row.GetString(1) == InProgress, row.GetDouble(2), row.IsDBNull(3) ? null : row.GetDouble(3)), cancel).ConfigureAwait(false);
    }

    public async Task<IReadOnlyList<Owner>> ActiveOwnersAsync(CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        return await session.RowsAsync($"SELECT DISTINCT owner FROM videos WHERE status IN ('{Queued}', '{InProgress}')", row => new Owner(row.GetString(0)), cancel).ConfigureAwait(false);
    }

    public async Task<IReadOnlyList<(double Work, double Seconds)>> PaceAsync(CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        return await session.RowsAsync($"SELECT work, seconds FROM videos WHERE status = '{Completed}' AND seconds IS NOT NULL ORDER BY completed DESC LIMIT 10",
            row => (row.GetDouble(0), row.GetDouble(1)), cancel).ConfigureAwait(false);
    }

    public async Task<IReadOnlyDictionary<string, StoredState>> StatesAsync(CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        var rows = await session.RowsAsync($"SELECT id, status, attempt, completed, bytes FROM videos WHERE status <> '{Deleted}'",
            row => (Id: row.GetString(0), State: new StoredState(Status(row.GetString(1)), row.GetInt32(2), row.IsDBNull(3) ? null : Time(row.GetInt64(3)), row.GetInt64(4))),
            cancel).ConfigureAwait(false);
        return rows.ToDictionary(row => row.Id, row => row.State);
    }

    public ValueTask DisposeAsync() => dialect.DisposeAsync();

    private static async Task<VideoJob?> ByKeyAsync(SqlSession session, NewJob job, CancellationToken cancel)
    {
        if (job.IdempotencyKey is null)
            return null;
        var rows = await session.RowsAsync($"SELECT {JobSchema.Columns}, fingerprint FROM videos WHERE owner = @owner AND idempotency_key = @key",
            row => (Job: Read(row), Fingerprint: row.IsDBNull(12) ? null : row.GetString(12)), cancel, ("owner", job.Owner.Name), ("key", job.IdempotencyKey)).ConfigureAwait(false);
        if (rows.Count == 0)
            return null;
        return rows[0].Fingerprint == job.Fingerprint
            ? rows[0].Job
            : throw new JobException(JobFault.Conflict, "this idempotency key was used for another request: take a new key for each request");
    }
}
