using System.Data.Common;

namespace PyramidFlow.Server.Storage;

/// <summary>A connection, with a transaction when it writes. What is not committed is undone.</summary>
internal sealed class SqlSession : IAsyncDisposable
{
    private readonly DbConnection connection;
    private readonly DbTransaction? transaction;
    private readonly IDisposable? turn;

    private SqlSession(DbConnection connection, DbTransaction? transaction, IDisposable? turn) =>
        (this.connection, this.transaction, this.turn) = (connection, transaction, turn);

    public static async Task<SqlSession> ReadAsync(SqlDialect dialect, CancellationToken cancel) =>
        new(await dialect.OpenAsync(cancel).ConfigureAwait(false), null, null);

    public static async Task<SqlSession> WriteAsync(SqlDialect dialect, CancellationToken cancel)
    {
        var turn = await dialect.BeginWriteAsync(cancel).ConfigureAwait(false);
        DbConnection? connection = null;
        try
        {
            connection = await dialect.OpenAsync(cancel).ConfigureAwait(false);
            return new SqlSession(connection, await connection.BeginTransactionAsync(cancel).ConfigureAwait(false), turn);
        }
        catch
        {
            if (connection is not null)
                await connection.DisposeAsync().ConfigureAwait(false);
            turn?.Dispose();
            throw;
        }
    }

    public async Task<int> ExecuteAsync(string sql, CancellationToken cancel, params (string Name, object? Value)[] values)
    {
        await using var command = Command(sql, values);
        return await command.ExecuteNonQueryAsync(cancel).ConfigureAwait(false);
    }

    /// <summary>The first column of the first row.</summary>
    public async Task<T?> ValueAsync<T>(string sql, CancellationToken cancel, params (string Name, object? Value)[] values)
    {
        await using var command = Command(sql, values);
        return await command.ExecuteScalarAsync(cancel).ConfigureAwait(false) is T value ? value : default;
    }

    public async Task<List<T>> RowsAsync<T>(string sql, Func<DbDataReader, T> read, CancellationToken cancel, params (string Name, object? Value)[] values)
    {
        await using var command = Command(sql, values);
        await using var reader = await command.ExecuteReaderAsync(cancel).ConfigureAwait(false);
        var rows = new List<T>();
        while (await reader.ReadAsync(cancel).ConfigureAwait(false))
            rows.Add(read(reader));
        return rows;
    }

    /// <summary>
    /// The next revision. Its row stays locked until the commit, so that revisions become visible in their order: a reader
    /// that has seen one has seen all before it.
    /// </summary>
    public Task<long> NextRevisionAsync(CancellationToken cancel) =>
        ValueAsync<long>("UPDATE counters SET value = value + 1 WHERE name = 'revision' RETURNING value", cancel);

    public Task CommitAsync(CancellationToken cancel) => transaction!.CommitAsync(cancel);

    public async ValueTask DisposeAsync()
    {
        if (transaction is not null)
            await transaction.DisposeAsync().ConfigureAwait(false);
        await connection.DisposeAsync().ConfigureAwait(false);
        turn?.Dispose();
    }

    private DbCommand Command(string sql, (string Name, object? Value)[] values)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        command.Transaction = transaction;
        foreach (var (name, value) in values)
        {
            var parameter = command.CreateParameter();
            (parameter.ParameterName, parameter.Value) = (name, value ?? DBNull.Value);
            command.Parameters.Add(parameter);
        }

        return command;
    }
}
