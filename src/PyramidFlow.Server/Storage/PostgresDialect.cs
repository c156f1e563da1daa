using System.Data.Common;
using Npgsql;

namespace PyramidFlow.Server.Storage;

/// <summary>PostgreSQL: for servers and workers on several machines.</summary>
/// <param name="connection">The connection string.</param>
internal sealed class PostgresDialect(string connection) : SqlDialect
{
    private readonly NpgsqlDataSource source = Source(connection);

    public override string Now => "(extract(epoch from clock_timestamp()) * 1000)::bigint";

    public override string SkipLocked => "FOR UPDATE SKIP LOCKED";

    public override IReadOnlyList<string> Exclusive => ["SELECT pg_advisory_xact_lock(7370726974)"];

    public override async Task<DbConnection> OpenAsync(CancellationToken cancel) => await source.OpenConnectionAsync(cancel).ConfigureAwait(false);

    public override Task<IDisposable?> BeginWriteAsync(CancellationToken cancel) => Task.FromResult<IDisposable?>(null);

    public override ValueTask DisposeAsync() => source.DisposeAsync();

    private static NpgsqlDataSource Source(string connection)
    {
        try
        {
            return NpgsqlDataSource.Create(connection);
        }
        catch (Exception e) when (e is ArgumentException or FormatException or NotSupportedException)
        {
            // The string may hold a password, and so may what is said about it.
            throw new StartException("the connection string of --database or PYRAMIDFLOW_DATABASE cannot be read: write such as \"Host=db;Database=videos;Username=videos\"", e);
        }
    }
}
