using System.Data.Common;

namespace PyramidFlow.Server.Storage;

/// <content>Running workers.</content>
internal sealed partial class SqlJobStore
{
    private const string WorkerColumns = "workers.name, workers.models, workers.processes, workers.loras, workers.device, workers.memory, workers.memory_used, workers.draining";

    public async Task<bool> AnnounceAsync(WorkerEntry worker, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        await JobSchema.ReadVersionAsync(session, cancellationToken).ConfigureAwait(false);
        // Whether it takes jobs is decided elsewhere; what the worker knows of it counts only where its row was away.
        var draining = await session.ValueAsync<long>(
            $"INSERT INTO workers (name, seen, models, loras, processes, device, memory, memory_used, draining) VALUES (@name, {dialect.Now}, @models, @loras, @processes, @device, @memory, @used, @draining) "
            + "ON CONFLICT (name) DO UPDATE SET seen = excluded.seen, models = excluded.models, loras = excluded.loras, processes = excluded.processes, device = excluded.device, memory = excluded.memory, "
            + "memory_used = excluded.memory_used RETURNING CAST(draining AS BIGINT)",
            cancellationToken, ("name", worker.Name), ("models", NameColumn.Join(worker.Models)), ("loras", NameColumn.Join(worker.Loras)), ("processes", worker.Processes), ("device", worker.Device),
            ("memory", worker.Memory), ("used", worker.MemoryUsed), ("draining", worker.IsDraining ? 1 : 0)).ConfigureAwait(false);
        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
        return draining != 0;
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
        return await session.RowsAsync($"SELECT {WorkerColumns} FROM workers WHERE seen >= {dialect.Now} - @age ORDER BY name", Worker, cancellationToken, ("age", (long)age.TotalMilliseconds)).ConfigureAwait(false);
    }

    private static WorkerEntry Worker(DbDataReader row) => new(row.GetString(0), NameColumn.Split(row.GetString(1)), row.GetInt32(2))
    {
        Loras = NameColumn.Split(row.GetString(3)), Device = row.GetString(4), Memory = row.GetInt64(5), MemoryUsed = row.GetInt64(6), IsDraining = row.GetInt32(7) != 0,
    };

    private async Task<bool> IsDrainingAsync(string worker, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        return await session.ValueAsync<long>("SELECT COUNT(*) FROM workers WHERE name = @name AND draining <> 0", cancellationToken, ("name", worker)).ConfigureAwait(false) > 0;
    }
}
