namespace PyramidFlow.Server.Storage;

/// <content>Running workers.</content>
internal sealed partial class SqlJobStore
{
    public async Task AnnounceAsync(WorkerEntry worker, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        await JobSchema.ReadVersionAsync(session, cancellationToken).ConfigureAwait(false);
        await session.ExecuteAsync(
            $"INSERT INTO workers (name, seen, models, loras, processes) VALUES (@name, {dialect.Now}, @models, @loras, @processes) "
            + "ON CONFLICT (name) DO UPDATE SET seen = excluded.seen, models = excluded.models, loras = excluded.loras, processes = excluded.processes",
            cancellationToken, ("name", worker.Name), ("models", NameColumn.Join(worker.Models)), ("loras", NameColumn.Join(worker.Loras)), ("processes", worker.Processes)).ConfigureAwait(false);
        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
    }

    public async Task WithdrawAsync(string worker, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        await session.ExecuteAsync("DELETE FROM workers WHERE name = @name", cancellationToken, ("name", worker)).ConfigureAwait(false);
        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
    }

    public async Task<IReadOnlyList<WorkerEntry>> WorkersAsync(TimeSpan age, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        return await session.RowsAsync($"SELECT name, models, processes, loras FROM workers WHERE seen >= {dialect.Now} - @age ORDER BY name",
            row => new WorkerEntry(row.GetString(0), NameColumn.Split(row.GetString(1)), row.GetInt32(2)) { Loras = NameColumn.Split(row.GetString(3)) },
            cancellationToken, ("age", (long)age.TotalMilliseconds)).ConfigureAwait(false);
    }
}
