using System.Data.Common;
using Microsoft.Data.Sqlite;
using Npgsql;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>The differences between the databases.</summary>
internal abstract class SqlDialect : IAsyncDisposable
{
    /// <summary>Name of the database and the command-line option that selects it, for errors.</summary>
    public abstract (string Place, string Option) Source { get; }

    /// <summary>SQL for milliseconds since 1970 by the clock of the database, so that clocks of machines may differ.</summary>
    public abstract string Now { get; }

    /// <summary>Suffix of a SELECT of jobs to lease, so that workers do not wait for each other.</summary>
    public abstract string SkipLocked { get; }

    /// <summary>SQL that compares a column with a pattern for LIKE in a parameter, without regard to the case of ASCII letters, whatever the language of the database.</summary>
    public abstract string LikeAscii(string column, string parameter);

    /// <summary>Statements to run once before the tables are created.</summary>
    public virtual IReadOnlyList<string> Prepare => [];

    /// <summary>Statements in the transaction that creates the tables, so that only one process creates them.</summary>
    public virtual IReadOnlyList<string> Exclusive => [];

    /// <summary>Opens a connection.</summary>
    public abstract Task<DbConnection> OpenAsync(CancellationToken cancellationToken);

    /// <summary>Waits for the right to write; disposing the result releases it.</summary>
    public abstract Task<IDisposable?> BeginWriteAsync(CancellationToken cancellationToken);

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}

/// <summary>SQLite: one file for the processes of one machine.</summary>
internal sealed class SqliteDialect : SqlDialect
{
    // Readers never wait. Writers of one process take turns here; writers of several processes poll with growing pauses.
    private const string Settings = "PRAGMA busy_timeout = 10000; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;";

    private readonly SemaphoreSlim writers = new(1);
    private readonly string connection;

    /// <param name="file">Path of the database; the file is created in an existing folder.</param>
    public SqliteDialect(string file)
    {
        connection = new SqliteConnectionStringBuilder { DataSource = file, Pooling = true }.ToString();
        Source = (file, "--data");
    }

    public override (string Place, string Option) Source { get; }

    public override string Now => "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

    public override string SkipLocked => "";

    public override string LikeAscii(string column, string parameter) => $"{column} LIKE @{parameter}";

    public override IReadOnlyList<string> Prepare => ["PRAGMA journal_mode = WAL"];

    public override async Task<DbConnection> OpenAsync(CancellationToken cancellationToken)
    {
        var opened = new SqliteConnection(connection);
        try
        {
            await opened.OpenAsync(cancellationToken).ConfigureAwait(false);
            await using var command = opened.CreateCommand();
            command.CommandText = Settings;
            await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
            return opened;
        }
        catch
        {
            await opened.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public override async Task<IDisposable?> BeginWriteAsync(CancellationToken cancellationToken)
    {
        await writers.WaitAsync(cancellationToken).ConfigureAwait(false);
        return new Turn(writers);
    }

    public override ValueTask DisposeAsync()
    {
        using var any = new SqliteConnection(connection);
        SqliteConnection.ClearPool(any);
        return ValueTask.CompletedTask;
    }

    private sealed class Turn(SemaphoreSlim writers) : IDisposable
    {
        public void Dispose() => writers.Release();
    }
}

/// <summary>PostgreSQL, for servers and workers on several machines.</summary>
/// <param name="connection">The connection string.</param>
internal sealed class PostgresDialect(string connection) : SqlDialect
{
    private readonly NpgsqlDataSource source = Create(connection);

    public override (string Place, string Option) Source => ("the database", "--database or PYRAMIDFLOW_DATABASE");

    public override string Now => "(extract(epoch from clock_timestamp()) * 1000)::bigint";

    public override string SkipLocked => "FOR UPDATE SKIP LOCKED";

    public override string LikeAscii(string column, string parameter) => $"({column} COLLATE \"C\") ILIKE @{parameter}";

    public override IReadOnlyList<string> Exclusive => ["SELECT pg_advisory_xact_lock(7370726974)"];

    public override async Task<DbConnection> OpenAsync(CancellationToken cancellationToken) => await source.OpenConnectionAsync(cancellationToken).ConfigureAwait(false);

    public override Task<IDisposable?> BeginWriteAsync(CancellationToken cancellationToken) => Task.FromResult<IDisposable?>(null);

    public override ValueTask DisposeAsync() => source.DisposeAsync();

    private static NpgsqlDataSource Create(string connection)
    {
        try
        {
            return NpgsqlDataSource.Create(connection);
        }
        catch (Exception e) when (e is ArgumentException or FormatException or NotSupportedException)
        {
            throw ServiceFault.ConnectionStringInvalid(e);
        }
    }
}

/// <summary>A connection, with a transaction for writes. Uncommitted changes are rolled back.</summary>
internal sealed class SqlSession : IAsyncDisposable
{
    private readonly DbConnection connection;
    private readonly DbTransaction? transaction;
    private readonly IDisposable? turn;

    private SqlSession(DbConnection connection, DbTransaction? transaction, IDisposable? turn) =>
        (this.connection, this.transaction, this.turn) = (connection, transaction, turn);

    public static async Task<SqlSession> ReadAsync(SqlDialect dialect, CancellationToken cancellationToken) =>
        new(await dialect.OpenAsync(cancellationToken).ConfigureAwait(false), null, null);

    public static async Task<SqlSession> WriteAsync(SqlDialect dialect, CancellationToken cancellationToken)
    {
        var turn = await dialect.BeginWriteAsync(cancellationToken).ConfigureAwait(false);
        DbConnection? connection = null;
        try
        {
            connection = await dialect.OpenAsync(cancellationToken).ConfigureAwait(false);
            return new SqlSession(connection, await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false), turn);
        }
        catch
        {
            if (connection is not null)
                await connection.DisposeAsync().ConfigureAwait(false);
            turn?.Dispose();
            throw;
        }
    }

    public async Task<int> ExecuteAsync(string sql, CancellationToken cancellationToken, params (string Name, object? Value)[] values)
    {
        await using var command = Command(sql, values);
        return await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Returns the first column of the first row.</summary>
    public async Task<T?> ValueAsync<T>(string sql, CancellationToken cancellationToken, params (string Name, object? Value)[] values)
    {
        await using var command = Command(sql, values);
        return await command.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is T value ? value : default;
    }

    public async Task<List<T>> RowsAsync<T>(string sql, Func<DbDataReader, T> read, CancellationToken cancellationToken, params (string Name, object? Value)[] values)
    {
        await using var command = Command(sql, values);
        await using var reader = await command.ExecuteReaderAsync(cancellationToken).ConfigureAwait(false);
        var rows = new List<T>();
        while (await reader.ReadAsync(cancellationToken).ConfigureAwait(false))
            rows.Add(read(reader));
        return rows;
    }

    /// <summary>
    /// Returns the next revision. Its row stays locked until the commit, so that revisions become visible in order: a
    /// reader that has seen one has seen all before it.
    /// </summary>
    public Task<long> NextRevisionAsync(CancellationToken cancellationToken) =>
        ValueAsync<long>("UPDATE counters SET value = value + 1 WHERE name = 'revision' RETURNING value", cancellationToken);

    public Task CommitAsync(CancellationToken cancellationToken) => transaction!.CommitAsync(cancellationToken);

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
