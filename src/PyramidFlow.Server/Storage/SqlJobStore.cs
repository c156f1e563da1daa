using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using PyramidFlow.Server.Domain;
using static PyramidFlow.Server.Storage.JobRow;

namespace PyramidFlow.Server.Storage;

/// <summary>Jobs in SQLite or PostgreSQL: what is read. Leases are in <c>SqlJobStore.Leases.cs</c>.</summary>
/// <param name="dialect">Which database; the store disposes it.</param>
/// <param name="rules">How often a job is tried and how long it waits between.</param>
/// <param name="log">Takes what cannot be read; null is nobody.</param>
internal sealed partial class SqlJobStore(SqlDialect dialect, LeaseRules rules, ILogger<SqlJobStore>? log = null) : IJobStore
{
    // SQLite takes a key that is null or no text. Such a row can be neither shown nor changed: it is as if it were not there.
    private const string Named = "CAST(id AS TEXT) = id";

    public Task InitializeAsync(CancellationToken cancel) => JobSchema.MigrateAsync(dialect, cancel);

    public async Task<(VideoJob Job, bool IsNew)> AddAsync(NewJob job, CancellationToken cancel)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancel).ConfigureAwait(false);
        // Taken first: it makes additions wait for each other, so that two cannot both be the last one allowed.
        var revision = await session.NextRevisionAsync(cancel).ConfigureAwait(false);
        if (await ByKeyAsync(session, job, cancel).ConfigureAwait(false) is { } earlier)
            return (earlier, false);
        var active = await session.ValueAsync<long>($"SELECT COUNT(*) FROM videos WHERE owner = @owner AND status IN ('{Queued}', '{InProgress}') AND {Named}", cancel,
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
        try
        {
            return await ByKeyAsync(session, job, cancel).ConfigureAwait(false);
        }
        catch (UnreadableRowException e)
        {
            await SetAsideAsync([e], cancel).ConfigureAwait(false);
        }

        try
        {
            return await ByKeyAsync(session, job, cancel).ConfigureAwait(false);
        }
        catch (UnreadableRowException e)
        {
            throw new JobException(JobFault.Conflict, "the video of this idempotency key cannot be read: take a new key", e);
        }
    }

    public async Task<bool> HasKeyAsync(Owner owner, string idempotencyKey, CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        return await session.ValueAsync<long>("SELECT COUNT(*) FROM videos WHERE owner = @owner AND idempotency_key = @key", cancel,
            ("owner", owner.Name), ("key", idempotencyKey)).ConfigureAwait(false) > 0;
    }

    public async Task<VideoJob?> FindAsync(string id, CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        var rows = await JobsAsync(session, $"SELECT {JobSchema.Columns} FROM videos WHERE id = @id AND status <> '{Deleted}'", Read, cancel, ("id", id)).ConfigureAwait(false);
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

        return await JobsAsync(session,
            $"SELECT {JobSchema.Columns} FROM videos WHERE owner = @owner AND status <> '{Deleted}' AND {Named} AND seq {beyond} @from ORDER BY seq {order} LIMIT @limit",
            Read, cancel, ("owner", owner.Name), ("from", from), ("limit", query.Limit + 1L)).ConfigureAwait(false);
    }

    public async Task<IReadOnlyList<StoredChange>> ChangesAsync(long after, CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        return await JobsAsync(session, $"SELECT {JobSchema.Columns} FROM videos WHERE revision > @after AND {Named} ORDER BY revision",
            row => new StoredChange(row.GetString(0), new Owner(Text(row, 1)), row.GetInt64(2), row.GetString(3) == Deleted ? null : Read(row)),
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
        return await session.RowsAsync($"SELECT id, status, work, seconds_left FROM videos WHERE status IN ('{Queued}', '{InProgress}') AND {Named} ORDER BY seq",
            row => new QueueEntry(row.GetString(0), row.GetString(1) == InProgress, Amount(row, 2) ?? 0, Amount(row, 3)), cancel).ConfigureAwait(false);
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
            row => (Amount(row, 0) ?? 0, Amount(row, 1) ?? 0), cancel).ConfigureAwait(false);
    }

    public async Task<IReadOnlyDictionary<string, StoredState>> StatesAsync(CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        var rows = await session.RowsAsync($"SELECT id, status, attempt, completed, bytes FROM videos WHERE status <> '{Deleted}' AND {Named}",
            row => (Id: row.GetString(0), State: State(row)), cancel).ConfigureAwait(false);
        return rows.ToDictionary(row => row.Id, row => row.State);
    }

    public ValueTask DisposeAsync() => dialect.DisposeAsync();

    // Damage here only spoils a guess.
    private static double? Amount(DbDataReader row, int column) => !row.IsDBNull(column) && row.GetDouble(column) is >= 0 and < 1e18 and var value ? value : null;

    private static async Task<VideoJob?> ByKeyAsync(SqlSession session, NewJob job, CancellationToken cancel)
    {
        if (job.IdempotencyKey is null)
            return null;
        var rows = await session.RowsAsync($"SELECT {JobSchema.Columns}, fingerprint FROM videos WHERE owner = @owner AND idempotency_key = @key",
            row => (Job: Read(row), Fingerprint: row.IsDBNull(JobSchema.Count) ? null : row.GetString(JobSchema.Count)), cancel, ("owner", job.Owner.Name), ("key", job.IdempotencyKey)).ConfigureAwait(false);
        if (rows.Count == 0)
            return null;
        return rows[0].Fingerprint == job.Fingerprint
            ? rows[0].Job
            : throw new JobException(JobFault.Conflict, "this idempotency key was used for another request: take a new key for each request");
    }

    private const long MinuteMilliseconds = 60_000;

    // A clock that was set back must not keep anybody out.
    private string MinuteIsOver => $"(requests.since <= {dialect.Now} - {MinuteMilliseconds} OR requests.since > {dialect.Now})";

    public async Task CountRequestAsync(Owner owner, int mostPerMinute, CancellationToken cancel)
    {
        while (true)
        {
            // Read first: who asks over and over in vain does not hold up writers.
            await CheckRequestsAsync(owner, mostPerMinute, cancel).ConfigureAwait(false);
            await using var session = await SqlSession.WriteAsync(dialect, cancel).ConfigureAwait(false);
            var count = await session.ValueAsync<long>(
                $"INSERT INTO requests (owner, since, count) VALUES (@owner, {dialect.Now}, 1) ON CONFLICT (owner) DO UPDATE SET "
                + $"count = CASE WHEN {MinuteIsOver} THEN 1 ELSE requests.count + 1 END, since = CASE WHEN {MinuteIsOver} THEN {dialect.Now} ELSE requests.since END "
                + $"WHERE {MinuteIsOver} OR requests.count < @most RETURNING count",
                cancel, ("owner", owner.Name), ("most", (long)mostPerMinute)).ConfigureAwait(false);
            // None: others took the last ones meanwhile.
            if (count == 0)
                continue;
            await session.CommitAsync(cancel).ConfigureAwait(false);
            return;
        }
    }

    public async Task CheckRequestsAsync(Owner owner, int mostPerMinute, CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        var wait = await session.ValueAsync<long>($"SELECT since + {MinuteMilliseconds} - {dialect.Now} FROM requests WHERE owner = @owner AND count >= @most AND NOT {MinuteIsOver}",
            cancel, ("owner", owner.Name), ("most", (long)mostPerMinute)).ConfigureAwait(false);
        if (wait <= 0)
            return;
        var seconds = (int)Math.Ceiling(wait / 1000.0);
        throw new JobException(JobFault.RateLimit, string.Create(CultureInfo.InvariantCulture, $"too many videos were asked for in one minute: try again in {seconds} seconds")) { RetryAfterSeconds = seconds };
    }
}
