using System.Text.Json;
using PyramidFlow.Server.Domain;
using static PyramidFlow.Server.Storage.JobRow;

namespace PyramidFlow.Server.Storage;

/// <content>What changes jobs.</content>
internal sealed partial class SqlJobStore
{
    // Only who holds the lease of this very attempt changes the job.
    private const string Held = $"id = @id AND status = '{InProgress}' AND worker = @worker AND attempt = @attempt";

    private const string NoLease = "worker = NULL, lease_until = NULL, seconds_left = NULL";

    public async Task<JobLease?> LeaseAsync(string worker, IReadOnlyCollection<string> models, TimeSpan lease, CancellationToken cancel)
    {
        for (var last = (string?)null; ;)
        {
            try
            {
                return await NextLeaseAsync(worker, models, lease, cancel).ConfigureAwait(false);
            }
            catch (UnreadableRowException e) when (e.Id != last)
            {
                // Those behind it are not to wait for it.
                await SetAsideAsync([e], cancel).ConfigureAwait(false);
                last = e.Id;
            }
        }
    }

    private async Task<JobLease?> NextLeaseAsync(string worker, IReadOnlyCollection<string> models, TimeSpan lease, CancellationToken cancel)
    {
        var named = models.Select((model, i) => (Name: $"model{i}", Value: (object?)model)).ToArray();
        var waiting = $"FROM videos WHERE status = '{Queued}' AND {Named} AND not_before <= {dialect.Now} AND model IN ({string.Join(", ", named.Select(model => "@" + model.Name))}) ORDER BY seq LIMIT 1";
        if (models.Count == 0 || !await AnyAsync(waiting, named, cancel).ConfigureAwait(false))
            return null;
        await using var session = await SqlSession.WriteAsync(dialect, cancel).ConfigureAwait(false);
        await JobSchema.ReadVersionAsync(session, cancel).ConfigureAwait(false);
        var id = await session.ValueAsync<string>($"SELECT id {waiting} {dialect.SkipLocked}", cancel, named).ConfigureAwait(false);
        if (id is null)
            return null;
        var revision = await session.NextRevisionAsync(cancel).ConfigureAwait(false);
        var rows = await session.RowsAsync(
            $"UPDATE videos SET status = '{InProgress}', worker = @worker, attempt = attempt + 1, lease_until = {dialect.Now} + @lease, started = {dialect.Now}, "
            + $"progress = NULL, error = NULL, revision = @revision WHERE id = @id AND status = '{Queued}' RETURNING {JobSchema.Columns}",
            Read, cancel, ("worker", worker), ("lease", (long)lease.TotalMilliseconds), ("revision", revision), ("id", id)).ConfigureAwait(false);
        if (rows.Count == 0)
            return null;
        // From here on it is taken: an answer that nobody waits for would leave it to a worker that does not know.
        await session.CommitAsync(CancellationToken.None).ConfigureAwait(false);
        return new JobLease(rows[0], worker);
    }

    public async Task<bool> RenewAsync(JobLease lease, VideoProgress? progress, TimeSpan length, CancellationToken cancel)
    {
        var text = progress is null ? null : JsonSerializer.Serialize(progress, StoreJson.Default.VideoProgress);
        return await ChangeAsync($"lease_until = {dialect.Now} + @length, progress = COALESCE(@progress, progress), seconds_left = COALESCE(@left, seconds_left)",
            Held, cancel, [.. Of(lease), ("length", (long)length.TotalMilliseconds), ("progress", text), ("left", progress?.SecondsLeft)]).ConfigureAwait(false) == 1;
    }

    public async Task<bool> CompleteAsync(JobLease lease, VideoResult result, CancellationToken cancel) =>
        await ChangeAsync($"status = '{Completed}', completed = {dialect.Now}, result = @result, bytes = @bytes, seconds = @seconds, {NoLease}", Held, cancel,
            [.. Of(lease), ("result", JsonSerializer.Serialize(result, StoreJson.Default.VideoResult)), ("bytes", result.Bytes), ("seconds", result.Seconds)]).ConfigureAwait(false) == 1;

    public async Task<bool> FailAsync(JobLease lease, VideoError error, bool retry, CancellationToken cancel)
    {
        var again = retry && lease.Attempt < rules.Attempts;
        var values = again
            ? $"status = '{Queued}', not_before = {dialect.Now} + {Pause("attempt")}, progress = NULL, error = @error, {NoLease}"
            : $"status = '{Failed}', completed = {dialect.Now}, error = @error, {NoLease}";
        return await ChangeAsync(values, Held, cancel, [.. Of(lease), ("error", Json(error))]).ConfigureAwait(false) == 1;
    }

    public async Task<bool> ReleaseAsync(JobLease lease, CancellationToken cancel) =>
        await ChangeAsync($"status = '{Queued}', attempt = attempt - 1, started = NULL, progress = NULL, {NoLease}", Held, cancel, Of(lease)).ConfigureAwait(false) == 1;

    public async Task<int> ReapAsync(CancellationToken cancel)
    {
        // One without an end is nobody's.
        var lost = $"status = '{InProgress}' AND (lease_until IS NULL OR lease_until < {dialect.Now}) AND {Named}";
        if (!await AnyAsync($"FROM videos WHERE {lost}", [], cancel).ConfigureAwait(false))
            return 0;
        var error = Json(new VideoError(VideoError.Abandoned, $"the program that made it died or was cut off {rules.Attempts} times: ask for it again, perhaps smaller or shorter"));
        return await ChangeAsync(
            $"status = CASE WHEN attempt >= {rules.Attempts} THEN '{Failed}' ELSE '{Queued}' END, completed = CASE WHEN attempt >= {rules.Attempts} THEN {dialect.Now} END, "
            + $"error = CASE WHEN attempt >= {rules.Attempts} THEN @error END, not_before = {dialect.Now} + {Pause("attempt")}, progress = NULL, {NoLease}",
            lost, cancel, ("error", error)).ConfigureAwait(false);
    }

    public Task CancelAsync(string id, VideoError reason, CancellationToken cancel) =>
        ChangeAsync($"status = '{Failed}', completed = {dialect.Now}, error = @error, {NoLease}", $"id = @id AND status IN ('{Queued}', '{InProgress}')", cancel,
            ("id", id), ("error", Json(reason)));

    public Task<int> CancelAllAsync(Owner owner, VideoError reason, CancellationToken cancel) =>
        ChangeAsync($"status = '{Failed}', completed = {dialect.Now}, error = @error, {NoLease}", $"owner = @owner AND status IN ('{Queued}', '{InProgress}')", cancel,
            ("owner", owner.Name), ("error", Json(reason)));

    public Task DeleteAsync(string id, CancellationToken cancel) =>
        ChangeAsync($"status = '{Deleted}', completed = {dialect.Now}, idempotency_key = NULL, request = '{{}}', progress = NULL, error = NULL, result = NULL, fault = NULL, {NoLease}",
            $"id = @id AND status <> '{Deleted}'", cancel, ("id", id));

    public async Task PurgeAsync(TimeSpan age, CancellationToken cancel)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancel).ConfigureAwait(false);
        await session.ExecuteAsync($"DELETE FROM videos WHERE status = '{Deleted}' AND completed < {dialect.Now} - @age", cancel, ("age", (long)age.TotalMilliseconds)).ConfigureAwait(false);
        await session.CommitAsync(cancel).ConfigureAwait(false);
    }

    private static (string Name, object? Value)[] Of(JobLease lease) => [("id", lease.Id), ("worker", lease.Worker), ("attempt", lease.Attempt)];

    private static string Json(VideoError error) => JsonSerializer.Serialize(error, StoreJson.Default.VideoError);

    // Four times as long after each attempt.
    private string Pause(string attempt) => FormattableString.Invariant(
        $"{(long)rules.Pause.TotalMilliseconds} * (CASE WHEN {attempt} <= 1 THEN 1 WHEN {attempt} = 2 THEN 4 ELSE 16 END)");

    private async Task<bool> AnyAsync(string query, (string Name, object? Value)[] values, CancellationToken cancel)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancel).ConfigureAwait(false);
        return await session.ValueAsync<string>($"SELECT id {query}", cancel, values).ConfigureAwait(false) is not null;
    }

    // All rows of one call get one revision.
    private async Task<int> ChangeAsync(string values, string where, CancellationToken cancel, params (string Name, object? Value)[] parameters)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancel).ConfigureAwait(false);
        var revision = await session.NextRevisionAsync(cancel).ConfigureAwait(false);
        var changed = await session.ExecuteAsync($"UPDATE videos SET {values}, revision = @revision WHERE {where}", cancel, [.. parameters, ("revision", revision)]).ConfigureAwait(false);
        if (changed > 0)
            await session.CommitAsync(cancel).ConfigureAwait(false);
        return changed;
    }
}
