using System.Text.Json;
using PyramidFlow.Server.Domain;
using static PyramidFlow.Server.Storage.JobRow;

namespace PyramidFlow.Server.Storage;

/// <content>Changes of the state of jobs.</content>
internal sealed partial class SqlJobStore
{
    // Only the holder of the lease of this attempt may change the job.
    private const string Held = $"id = @id AND status = '{InProgress}' AND worker = @worker AND attempt = @attempt";

    // The revision at which a job of the owner was leased last; 0 before the first. The owner with the least is next.
    private const string Served = "COALESCE((SELECT turns.served FROM turns WHERE turns.owner = videos.owner), 0)";

    private const int MostLoraSets = 1000;

    private const string NoLease = "worker = NULL, lease_until = NULL, seconds_left = NULL";

    public async Task<JobLease?> LeaseAsync(string worker, IReadOnlyCollection<string> models, TimeSpan lease, CancellationToken cancellationToken, IReadOnlyCollection<string>? loras = null)
    {
        for (var last = (string?)null; ;)
        {
            try
            {
                return await NextLeaseAsync(worker, models, loras ?? [], lease, cancellationToken).ConfigureAwait(false);
            }
            catch (UnreadableRowException e) when (e.Id != last)
            {
                // The jobs behind it must not wait for it.
                await SetAsideAsync([e], cancellationToken).ConfigureAwait(false);
                last = e.Id;
            }
        }
    }

    private async Task<JobLease?> NextLeaseAsync(string worker, IReadOnlyCollection<string> models, IReadOnlyCollection<string> loras, TimeSpan lease, CancellationToken cancellationToken)
    {
        if (models.Count == 0 || await IsDrainingAsync(worker, cancellationToken).ConfigureAwait(false))
            return null;
        var (ofModels, named) = In("model", models);
        var waiting = $"FROM videos WHERE status = '{Queued}' AND {Named} AND not_before <= {dialect.Now} AND model {ofModels}";
        // Sets of LoRAs in the queue that this worker has completely. Users make as many as they like, and databases limit the values of a query.
        string[] able = [.. (await TextsAsync($"SELECT loras {waiting} GROUP BY loras ORDER BY MIN(seq)", named, cancellationToken).ConfigureAwait(false))
            .Where(wanted => NameColumn.Split(wanted).All(loras.Contains)).Take(MostLoraSets)];
        if (able.Length == 0)
            return null;
        var (ofLoras, wanted) = In("loras", able);
        (waiting, named) = ($"{waiting} AND loras {ofLoras} ORDER BY {Served}, seq LIMIT 1", [.. named, .. wanted]);
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        await JobSchema.ReadVersionAsync(session, cancellationToken).ConfigureAwait(false);
        // Taken first, because it serialises leases: the next worker sees whose turn it was.
        var revision = await session.NextRevisionAsync(cancellationToken).ConfigureAwait(false);
        var id = await session.ValueAsync<string>($"SELECT id {waiting} {dialect.SkipLocked}", cancellationToken, named).ConfigureAwait(false);
        if (id is null)
            return null;
        var rows = await session.RowsAsync(
            $"UPDATE videos SET status = '{InProgress}', worker = @worker, attempt = attempt + 1, tries = tries + 1, lease_until = {dialect.Now} + @lease, started = {dialect.Now}, "
            + $"progress = NULL, error = NULL, revision = @revision WHERE id = @id AND status = '{Queued}' RETURNING {JobSchema.Columns}",
            Read, cancellationToken, ("worker", worker), ("lease", (long)lease.TotalMilliseconds), ("revision", revision), ("id", id)).ConfigureAwait(false);
        if (rows.Count == 0)
            return null;
        await session.ExecuteAsync("INSERT INTO turns (owner, served) VALUES (@owner, @revision) ON CONFLICT (owner) DO UPDATE SET served = excluded.served", cancellationToken,
            ("owner", rows[0].Owner.Name), ("revision", revision)).ConfigureAwait(false);
        // From here on the job is leased: cancelling the commit would leave it to a worker that does not know of it.
        await session.CommitAsync(CancellationToken.None).ConfigureAwait(false);
        return new JobLease(rows[0], worker);
    }

    public async Task<bool> RenewAsync(JobLease lease, VideoProgress? progress, TimeSpan length, CancellationToken cancellationToken)
    {
        var text = progress is null ? null : JsonSerializer.Serialize(progress, StoreJson.Default.VideoProgress);
        // Only what no earlier attempt has finished counts, so that a job that always fails in the same place ends.
        return await ChangeAsync($"lease_until = {dialect.Now} + @length, progress = COALESCE(@progress, progress), seconds_left = COALESCE(@left, seconds_left), "
            + "tries = CASE WHEN @units > units THEN 0 ELSE tries END, units = CASE WHEN @units > units THEN @units ELSE units END",
            Held, cancellationToken, [.. Identity(lease), ("length", (long)length.TotalMilliseconds), ("progress", text), ("left", progress?.SecondsLeft), ("units", progress?.FinishedUnits ?? 0)]).ConfigureAwait(false) == 1;
    }

    public async Task<bool> CompleteAsync(JobLease lease, VideoResult result, CancellationToken cancellationToken, VideoRequest? asMade = null) =>
        await ChangeAsync($"status = '{Completed}', completed = {dialect.Now}, result = @result, bytes = @bytes, seconds = @seconds, request = COALESCE(@request, request), work = COALESCE(@work, work), {NoLease}", Held, cancellationToken,
            [.. Identity(lease), ("result", JsonSerializer.Serialize(result, StoreJson.Default.VideoResult)), ("bytes", result.Bytes), ("seconds", result.Seconds),
                ("request", asMade is null ? null : JsonSerializer.Serialize(asMade, StoreJson.Default.VideoRequest)), ("work", asMade is null ? null : RequestWork.Estimate(asMade))]).ConfigureAwait(false) == 1;

    public async Task<bool> FailAsync(JobLease lease, VideoError error, bool retry, CancellationToken cancellationToken)
    {
        var values = retry
            ? $"{AgainOrFailed}, error = @error, progress = CASE WHEN {IsLastTry} THEN progress END, {NoLease}"
            : $"status = '{Failed}', completed = {dialect.Now}, error = @error, {NoLease}";
        return await ChangeAsync(values, Held, cancellationToken, [.. Identity(lease), ("error", Json(error))]).ConfigureAwait(false) == 1;
    }

    public async Task<bool> ReleaseAsync(JobLease lease, CancellationToken cancellationToken) =>
        await ChangeAsync($"status = '{Queued}', attempt = attempt - 1, tries = CASE WHEN tries > 0 THEN tries - 1 ELSE 0 END, started = NULL, progress = NULL, {NoLease}", Held, cancellationToken, Identity(lease)).ConfigureAwait(false) == 1;

    public async Task<int> ReapAsync(CancellationToken cancellationToken)
    {
        // A lease without an end belongs to nobody.
        var lost = $"status = '{InProgress}' AND (lease_until IS NULL OR lease_until < {dialect.Now}) AND {Named}";
        if (!await AnyAsync($"FROM videos WHERE {lost}", [], cancellationToken).ConfigureAwait(false))
            return 0;
        var error = Json(ServiceFault.Abandoned(rules.Attempts));
        return await ChangeAsync(
            $"{AgainOrFailed}, error = CASE WHEN {IsLastTry} THEN @error END, progress = NULL, {NoLease}",
            lost, cancellationToken, ("error", error)).ConfigureAwait(false);
    }

    public Task CancelAsync(string id, VideoError reason, CancellationToken cancellationToken) =>
        ChangeAsync($"status = '{Failed}', completed = {dialect.Now}, error = @error, {NoLease}", $"id = @id AND status IN ('{Queued}', '{InProgress}')", cancellationToken,
            ("id", id), ("error", Json(reason)));

    public Task<int> CancelAllAsync(Owner owner, VideoError reason, CancellationToken cancellationToken) =>
        ChangeAsync($"status = '{Failed}', completed = {dialect.Now}, error = @error, {NoLease}", $"owner = @owner AND status IN ('{Queued}', '{InProgress}')", cancellationToken,
            ("owner", owner.Name), ("error", Json(reason)));

    public async Task<bool> MarkAsync(string id, bool isFavourite, CancellationToken cancellationToken) =>
        await ChangeAsync(false, "favourite = @favourite", $"id = @id AND status <> '{Deleted}'", cancellationToken, ("id", id), ("favourite", isFavourite ? 1 : 0)).ConfigureAwait(false) == 1;

    public Task DeleteAsync(string id, CancellationToken cancellationToken) =>
        ChangeAsync($"status = '{Deleted}', completed = {dialect.Now}, idempotency_key = NULL, request = '{{}}', progress = NULL, error = NULL, result = NULL, fault = NULL, live = NULL, {NoLease}",
            $"id = @id AND status <> '{Deleted}'", cancellationToken, ("id", id));

    public async Task PurgeAsync(TimeSpan age, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        await session.ExecuteAsync($"DELETE FROM videos WHERE status = '{Deleted}' AND completed < {dialect.Now} - @age", cancellationToken, ("age", (long)age.TotalMilliseconds)).ConfigureAwait(false);
        // Owners without a video, such as those of removed keys, and days that are over.
        await session.ExecuteAsync("DELETE FROM turns WHERE owner NOT IN (SELECT owner FROM videos)", cancellationToken).ConfigureAwait(false);
        await session.ExecuteAsync($"DELETE FROM days WHERE since < {dialect.Now} - {Days.Milliseconds}", cancellationToken).ConfigureAwait(false);
        await session.ExecuteAsync($"DELETE FROM workers WHERE seen < {dialect.Now} - @age", cancellationToken, ("age", (long)age.TotalMilliseconds)).ConfigureAwait(false);
        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
    }

    private static (string Name, object? Value)[] Identity(JobLease lease) => [("id", lease.Id), ("worker", lease.Worker), ("attempt", lease.Attempt)];

    private static string Json(VideoError error) => JsonSerializer.Serialize(error, StoreJson.Default.VideoError);

    // Attempts that have finished a further unit do not count.
    private string IsLastTry => FormattableString.Invariant($"tries >= {rules.Attempts}");

    // The pause grows fourfold with each attempt.
    private string AgainOrFailed => FormattableString.Invariant($"status = CASE WHEN {IsLastTry} THEN '{Failed}' ELSE '{Queued}' END, completed = CASE WHEN {IsLastTry} THEN {dialect.Now} END, ")
        + FormattableString.Invariant($"not_before = {dialect.Now} + {(long)rules.Pause.TotalMilliseconds} * (CASE WHEN tries <= 1 THEN 1 WHEN tries = 2 THEN 4 ELSE 16 END)");

    private static (string Sql, (string Name, object? Value)[] Values) In(string name, IReadOnlyCollection<string> values)
    {
        var named = values.Select((value, i) => (Name: FormattableString.Invariant($"{name}{i}"), Value: (object?)value)).ToArray();
        return ($"IN ({string.Join(", ", named.Select(each => "@" + each.Name))})", named);
    }

    private async Task<List<string>> TextsAsync(string query, (string Name, object? Value)[] values, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        return await session.RowsAsync(query, row => Text(row, 0), cancellationToken, values).ConfigureAwait(false);
    }

    private async Task<bool> AnyAsync(string query, (string Name, object? Value)[] values, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        return await session.ValueAsync<string>($"SELECT id {query}", cancellationToken, values).ConfigureAwait(false) is not null;
    }

    private Task<int> ChangeAsync(string values, string where, CancellationToken cancellationToken, params (string Name, object? Value)[] parameters) =>
        ChangeAsync(true, values, where, cancellationToken, parameters);

    // All rows of one call get the same revision. A change that may end videos announces those that it ends; a video that had ended before is never announced again.
    private async Task<int> ChangeAsync(bool mayEnd, string values, string where, CancellationToken cancellationToken, params (string Name, object? Value)[] parameters)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        var revision = await session.NextRevisionAsync(cancellationToken).ConfigureAwait(false);
        var changed = await session.ExecuteAsync($"UPDATE videos SET {values}, revision = @revision WHERE {where}", cancellationToken, [.. parameters, ("revision", revision)]).ConfigureAwait(false);
        if (changed == 0)
            return 0;
        if (mayEnd)
            await AnnounceEndsAsync(session, revision, cancellationToken).ConfigureAwait(false);
        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
        return changed;
    }
}
