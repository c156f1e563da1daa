using System.Data.Common;
using Microsoft.Data.Sqlite;

namespace PyramidFlow.Server.Storage;

/// <summary>SQLite: one file, for the processes of one machine.</summary>
internal sealed class SqliteDialect : SqlDialect
{
    // Readers never wait. Writers of one process take turns here; those of several poll with growing pauses.
    private const string Settings = "PRAGMA busy_timeout = 10000; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;";

    private readonly SemaphoreSlim writers = new(1);
    private readonly string connection;

    /// <param name="file">The database; made if need be, in a folder that is there.</param>
    public SqliteDialect(string file) => connection = new SqliteConnectionStringBuilder { DataSource = file, Pooling = true }.ToString();

    public override string Now => "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

    public override string SkipLocked => "";

    public override IReadOnlyList<string> Prepare => ["PRAGMA journal_mode = WAL"];

    public override async Task<DbConnection> OpenAsync(CancellationToken cancel)
    {
        var opened = new SqliteConnection(connection);
        try
        {
            await opened.OpenAsync(cancel).ConfigureAwait(false);
            await using var command = opened.CreateCommand();
            command.CommandText = Settings;
            await command.ExecuteNonQueryAsync(cancel).ConfigureAwait(false);
            return opened;
        }
        catch
        {
            await opened.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public override async Task<IDisposable?> BeginWriteAsync(CancellationToken cancel)
    {
        await writers.WaitAsync(cancel).ConfigureAwait(false);
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
