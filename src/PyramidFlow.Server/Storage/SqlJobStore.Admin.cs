using System.Data.Common;
using PyramidFlow.Server.Domain;
using static PyramidFlow.Server.Storage.JobRow;

namespace PyramidFlow.Server.Storage;

/// <content>The queue as those see it who run the service.</content>
internal sealed partial class SqlJobStore : IAdminStore
{
    public async Task<IReadOnlyList<WorkerState>> WorkerStatesAsync(CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        var states = await session.RowsAsync(
            $"SELECT {WorkerColumns}, seen, {dialect.Now} - seen, videos.id, videos.owner, videos.progress FROM workers LEFT JOIN videos ON videos.worker = workers.name AND videos.status = '{InProgress}' ORDER BY workers.name, videos.id",
            row => new WorkerState(Worker(row), DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(8)), TimeSpan.FromMilliseconds(row.GetInt64(9)))
            {
                Job = row.IsDBNull(10) ? null : row.GetString(10),
                Owner = row.IsDBNull(11) ? null : new Owner(row.GetString(11)),
                Fraction = FractionOf(row, 12),
            }, cancellationToken).ConfigureAwait(false);
        // A worker has one job; a second one is of a lease that it has lost and that has not ended yet.
        return [.. states.DistinctBy(state => state.Entry.Name)];
    }

    public async Task<bool> SetDrainingAsync(string worker, bool isDraining, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        var changed = await session.ExecuteAsync("UPDATE workers SET draining = @draining WHERE name = @name", cancellationToken, ("draining", isDraining ? 1 : 0), ("name", worker)).ConfigureAwait(false);
        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
        return changed > 0;
    }

    public async Task<IReadOnlyList<AdminJob>?> ListAllAsync(AdminQuery query, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        var (values, where) = (new List<(string Name, object? Value)> { ("limit", query.Limit + 1L) }, "");
        if (query.After is not null)
        {
            var from = await session.ValueAsync<long>("SELECT seq FROM videos WHERE id = @id", cancellationToken, ("id", query.After)).ConfigureAwait(false);
            if (from == 0)
                return null;
            (where, values) = ($"{where} AND seq < @from", [.. values, ("from", from)]);
        }

        if (query.Status is { } status)
        {
            var words = status switch { VideoStatus.Queued => $"'{Queued}'", VideoStatus.InProgress => $"'{InProgress}'", VideoStatus.Completed => $"'{Completed}'", _ => $"'{Failed}', '{Unreadable}'" };
            where += $" AND status IN ({words})";
        }

        if (query.Key is { } key)
        {
            // An owner is the name of its key and digits after it.
            var prefix = ApiKeys.OwnersOf(key);
            where += FormattableString.Invariant($" AND (owner = @owner OR substr(owner, 1, {prefix.Length}) = @prefix)");
            values.AddRange([("owner", key), ("prefix", prefix)]);
        }

        return await JobsAsync(session, $"SELECT {JobSchema.Columns}, worker FROM videos WHERE status <> '{Deleted}' AND {Named}{where} ORDER BY seq DESC LIMIT @limit",
            row => new AdminJob(Read(row), row.IsDBNull(JobSchema.Count) ? null : row.GetString(JobSchema.Count)), cancellationToken, [.. values]).ConfigureAwait(false);
    }

    public async Task<IReadOnlyList<OwnerUse>> UseAsync(CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        var jobs = await session.RowsAsync($"SELECT owner, status, COUNT(*), CAST(SUM(bytes) AS BIGINT) FROM videos WHERE status <> '{Deleted}' GROUP BY owner, status",
            row => (Owner: Text(row, 0), Status: Text(row, 1), Count: row.GetInt64(2), Bytes: row.IsDBNull(3) ? 0 : row.GetInt64(3)), cancellationToken).ConfigureAwait(false);
        var days = (await session.RowsAsync($"SELECT owner, count FROM days WHERE NOT {IsOver(Days)}", row => (Owner: Text(row, 0), Count: row.GetInt64(1)), cancellationToken).ConfigureAwait(false))
            .ToDictionary(day => day.Owner, day => day.Count);
        return [.. jobs.Select(job => job.Owner).Concat(days.Keys).Distinct().Select(owner => new OwnerUse(new Owner(owner), days.GetValueOrDefault(owner),
            Count(owner, Queued), Count(owner, InProgress), Count(owner, Completed), Count(owner, Failed) + Count(owner, Unreadable),
            jobs.Where(job => job.Owner == owner && job.Status == Completed).Sum(job => job.Bytes)))];

        long Count(string owner, string status) => jobs.Where(job => job.Owner == owner && job.Status == status).Sum(job => job.Count);
    }

    // An estimate: what cannot be read counts as nothing.
    private static double FractionOf(DbDataReader row, int column)
    {
        try
        {
            return row.IsDBNull(column) ? 0 : System.Text.Json.JsonSerializer.Deserialize(row.GetString(column), StoreJson.Default.VideoProgress)?.Fraction ?? 0;
        }
        catch (System.Text.Json.JsonException)
        {
            return 0;
        }
    }
}
