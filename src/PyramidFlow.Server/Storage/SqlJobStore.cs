using System.Data.Common;
using System.Text.Json;
using Microsoft.Extensions.Logging.Abstractions;
using PyramidFlow.Server.Domain;
using static PyramidFlow.Server.Storage.JobRow;

namespace PyramidFlow.Server.Storage;

/// <summary>
/// Jobs in SQLite or PostgreSQL: additions and reads. State changes are in <c>SqlJobStore.Leases.cs</c>, rows in
/// <c>SqlJobStore.Rows.cs</c>.
/// </summary>
/// <param name="dialect">The database; the store disposes it.</param>
/// <param name="rules">Rules for retries.</param>
/// <param name="log">Log for unreadable entries; null for none.</param>
internal sealed partial class SqlJobStore(SqlDialect dialect, LeaseRules rules, ILogger<SqlJobStore>? log = null) : IJobStore
{
    private readonly ILogger logger = log ?? (ILogger)NullLogger.Instance;

    // SQLite accepts a key that is null or no text. Such a row can be neither shown nor changed and is ignored.
    private const string Named = "CAST(id AS TEXT) = id";

    public Task InitializeAsync(CancellationToken cancellationToken) => JobSchema.MigrateAsync(dialect, cancellationToken);

    public async Task<(VideoJob Job, bool IsNew)> AddAsync(NewJob job, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        // Taken first, because it serialises additions: two of them cannot both be the last one allowed.
        var revision = await session.NextRevisionAsync(cancellationToken).ConfigureAwait(false);
        if (await ByKeyAsync(session, job, cancellationToken).ConfigureAwait(false) is { } earlier)
            return (earlier, false);
        var active = await session.ValueAsync<long>($"SELECT COUNT(*) FROM videos WHERE owner = @owner AND status IN ('{Queued}', '{InProgress}') AND {Named}", cancellationToken,
            ("owner", job.Owner.Name)).ConfigureAwait(false);
        if (active >= job.MaxActive)
            throw ServiceFault.TooManyActive(active);
        // Counted without a limit too, for those who run the service.
        if (!await CountAsync(session, Days, job.Owner, job.MaxPerDay, cancellationToken).ConfigureAwait(false))
            throw ServiceFault.DayIsFull(job.MaxPerDay, Math.Max(1, await SecondsLeftAsync(session, Days, job.Owner, job.MaxPerDay, cancellationToken).ConfigureAwait(false)));
        var rows = await session.RowsAsync(
            $"INSERT INTO videos (id, owner, seq, revision, status, model, loras, webhook, work, created, idempotency_key, fingerprint, request) "
            + $"VALUES (@id, @owner, @revision, @revision, '{Queued}', @model, @loras, @webhook, @work, {dialect.Now}, @key, @fingerprint, @request) RETURNING {JobSchema.Columns}",
            Read, cancellationToken, ("id", job.Id), ("owner", job.Owner.Name), ("revision", revision), ("model", job.Request.Model), ("loras", NameColumn.JoinSet(job.Request.Loras?.Select(lora => lora.Path) ?? [])),
            ("webhook", job.Request.Webhook is { } url ? WebhookRules.Normal(url) : null), ("work", RequestWork.Estimate(job.Request)), ("key", job.IdempotencyKey), ("fingerprint", job.Fingerprint),
            ("request", JsonSerializer.Serialize(job.Request, StoreJson.Default.VideoRequest))).ConfigureAwait(false);
        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
        return (rows[0], true);
    }

    public async Task<VideoJob?> FindByKeyAsync(NewJob job, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        try
        {
            return await ByKeyAsync(session, job, cancellationToken).ConfigureAwait(false);
        }
        catch (UnreadableRowException e)
        {
            await SetAsideAsync([e], cancellationToken).ConfigureAwait(false);
        }

        try
        {
            return await ByKeyAsync(session, job, cancellationToken).ConfigureAwait(false);
        }
        catch (UnreadableRowException e)
        {
            throw ServiceFault.IdempotencyKeyUnreadable(e);
        }
    }

    public async Task<bool> HasKeyAsync(Owner owner, string idempotencyKey, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        return await session.ValueAsync<long>("SELECT COUNT(*) FROM videos WHERE owner = @owner AND idempotency_key = @key", cancellationToken,
            ("owner", owner.Name), ("key", idempotencyKey)).ConfigureAwait(false) > 0;
    }

    public async Task<VideoJob?> FindAsync(string id, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        var rows = await JobsAsync(session, $"SELECT {JobSchema.Columns} FROM videos WHERE id = @id AND status <> '{Deleted}'", Read, cancellationToken, ("id", id)).ConfigureAwait(false);
        return rows.FirstOrDefault();
    }

    public async Task<IReadOnlyList<VideoJob>?> ListAsync(Owner owner, VideoQuery query, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        var (order, beyond, from) = query.OldestFirst ? ("ASC", ">", 0L) : ("DESC", "<", long.MaxValue);
        if (query.After is not null)
        {
            from = await session.ValueAsync<long>("SELECT seq FROM videos WHERE id = @id AND owner = @owner", cancellationToken, ("id", query.After), ("owner", owner.Name)).ConfigureAwait(false);
            if (from == 0)
                return null;
        }

        var (found, parts) = Found(query);
        return await JobsAsync(session,
            $"SELECT {JobSchema.Columns} FROM videos WHERE owner = @owner AND status <> '{Deleted}' AND {Named} AND seq {beyond} @from{found} ORDER BY seq {order} LIMIT @limit",
            Read, cancellationToken, [.. parts, ("owner", owner.Name), ("from", from), ("limit", query.Limit + 1L)]).ConfigureAwait(false);
    }

    // What all that a search finds have in common; some that it does not find have it too.
    private (string Sql, (string Name, object? Value)[] Values) Found(VideoQuery query)
    {
        if (!query.IsSearch)
            return ("", []);
        var parts = query.Parts.Select((part, i) => (Name: FormattableString.Invariant($"part{i}"), Value: (object?)$"%{part}%")).ToArray();
        return ($" AND status = '{Completed}'{(query.OnlyFavourites ? " AND favourite <> 0" : "")}{string.Concat(parts.Select(part => $" AND {dialect.LikeAscii("request", part.Name)}"))}", parts);
    }

    public async Task<IReadOnlyList<StoredChange>> ChangesAsync(long after, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        return await JobsAsync(session, $"SELECT {JobSchema.Columns} FROM videos WHERE revision > @after AND {Named} ORDER BY revision",
            row => new StoredChange(row.GetString(0), new Owner(Text(row, 1)), row.GetInt64(2), row.GetString(3) == Deleted ? null : Read(row)),
            cancellationToken, ("after", after)).ConfigureAwait(false);
    }

    public async Task<long> RevisionAsync(CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        return await session.ValueAsync<long>("SELECT value FROM counters WHERE name = 'revision'", cancellationToken).ConfigureAwait(false);
    }

    public async Task<IReadOnlyList<QueueEntry>> QueueAsync(CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        var entries = await session.RowsAsync($"SELECT id, model, status, work, seconds_left, loras, owner, {Served} FROM videos WHERE status IN ('{Queued}', '{InProgress}') AND {Named} ORDER BY seq",
            row => new QueueEntry(row.GetString(0), row.GetString(1), row.GetString(2) == InProgress, Amount(row, 3) ?? 0, Amount(row, 4)) { Loras = NameColumn.Split(Text(row, 5)), Owner = new Owner(Text(row, 6)), Served = row.GetInt64(7) },
            cancellationToken).ConfigureAwait(false);
        return [.. entries.Where(entry => entry.Runs), .. FairTurns.Order(entries.Where(entry => !entry.Runs))];
    }

    public async Task<IReadOnlyList<Owner>> ActiveOwnersAsync(CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        return await session.RowsAsync($"SELECT DISTINCT owner FROM videos WHERE status IN ('{Queued}', '{InProgress}')", row => new Owner(row.GetString(0)), cancellationToken).ConfigureAwait(false);
    }

    public async Task<IReadOnlyList<(double Work, double Seconds)>> PaceAsync(CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        return await session.RowsAsync($"SELECT work, seconds FROM videos WHERE status = '{Completed}' AND seconds IS NOT NULL ORDER BY completed DESC LIMIT 10",
            row => (Amount(row, 0) ?? 0, Amount(row, 1) ?? 0), cancellationToken).ConfigureAwait(false);
    }

    public async Task<IReadOnlyDictionary<string, StoredState>> StatesAsync(CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        var rows = await session.RowsAsync($"SELECT id, status, attempt, completed, bytes FROM videos WHERE status <> '{Deleted}' AND {Named}",
            row => (Id: row.GetString(0), State: State(row)), cancellationToken).ConfigureAwait(false);
        return rows.ToDictionary(row => row.Id, row => row.State);
    }

    public ValueTask DisposeAsync() => dialect.DisposeAsync();

    // A damaged value only spoils an estimate.
    private static double? Amount(DbDataReader row, int column) => !row.IsDBNull(column) && row.GetDouble(column) is >= 0 and < 1e18 and var value ? value : null;

    private static async Task<VideoJob?> ByKeyAsync(SqlSession session, NewJob job, CancellationToken cancellationToken)
    {
        if (job.IdempotencyKey is null)
            return null;
        var rows = await session.RowsAsync($"SELECT {JobSchema.Columns}, fingerprint FROM videos WHERE owner = @owner AND idempotency_key = @key",
            row => (Job: Read(row), Fingerprint: row.IsDBNull(JobSchema.Count) ? null : row.GetString(JobSchema.Count)), cancellationToken, ("owner", job.Owner.Name), ("key", job.IdempotencyKey)).ConfigureAwait(false);
        if (rows.Count == 0)
            return null;
        return rows[0].Fingerprint == job.Fingerprint
            ? rows[0].Job
            : throw ServiceFault.IdempotencyKeyUsed();
    }

    public async Task CountRequestAsync(Owner owner, int mostPerMinute, CancellationToken cancellationToken)
    {
        while (true)
        {
            // Read first: repeated refused requests must not block writers.
            await CheckRequestsAsync(owner, mostPerMinute, cancellationToken).ConfigureAwait(false);
            await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
            // Concurrent requests may have used up the limit.
            if (!await CountAsync(session, Minutes, owner, mostPerMinute, cancellationToken).ConfigureAwait(false))
                continue;
            await session.CommitAsync(cancellationToken).ConfigureAwait(false);
            return;
        }
    }

    public async Task CheckRequestsAsync(Owner owner, int mostPerMinute, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        if (await SecondsLeftAsync(session, Minutes, owner, mostPerMinute, cancellationToken).ConfigureAwait(false) is > 0 and var seconds)
            throw ServiceFault.TooManyRequests(seconds);
    }

    public async Task CheckDayAsync(Owner owner, int mostPerDay, CancellationToken cancellationToken)
    {
        if (mostPerDay == int.MaxValue)
            return;
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        if (await SecondsLeftAsync(session, Days, owner, mostPerDay, cancellationToken).ConfigureAwait(false) is > 0 and var seconds)
            throw ServiceFault.DayIsFull(mostPerDay, seconds);
    }

    // Counts one more of an owner, unless the limit is reached. Jobs that were deleted count too, so that deletion gives no others.
    private async Task<bool> CountAsync(SqlSession session, CountedPeriod period, Owner owner, int most, CancellationToken cancellationToken)
    {
        var (table, isOver) = (period.Table, IsOver(period));
        return await session.ValueAsync<long>(
            $"INSERT INTO {table} (owner, since, count) VALUES (@owner, {dialect.Now}, 1) ON CONFLICT (owner) DO UPDATE SET "
            + $"count = CASE WHEN {isOver} THEN 1 ELSE {table}.count + 1 END, since = CASE WHEN {isOver} THEN {dialect.Now} ELSE {table}.since END "
            + $"WHERE {isOver} OR {table}.count < @most RETURNING count",
            cancellationToken, ("owner", owner.Name), ("most", (long)most)).ConfigureAwait(false) > 0;
    }

    // Seconds until an owner who has reached the limit may go on; 0 where it is not reached.
    private async Task<int> SecondsLeftAsync(SqlSession session, CountedPeriod period, Owner owner, int most, CancellationToken cancellationToken)
    {
        var wait = await session.ValueAsync<long>($"SELECT since + {period.Milliseconds} - {dialect.Now} FROM {period.Table} WHERE owner = @owner AND count >= @most AND NOT {IsOver(period)}",
            cancellationToken, ("owner", owner.Name), ("most", (long)most)).ConfigureAwait(false);
        return (int)Math.Ceiling(wait / 1000.0);
    }

    // A clock that was set back must not lock anybody out.
    private string IsOver(CountedPeriod period) => $"({period.Table}.since <= {dialect.Now} - {period.Milliseconds} OR {period.Table}.since > {dialect.Now})";

    private static readonly CountedPeriod Minutes = new("requests", 60_000), Days = new("days", 24 * 60 * 60_000);

    // A table that counts for each owner from the first one of a period on.
    private sealed record CountedPeriod(string Table, long Milliseconds);
}
