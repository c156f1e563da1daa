using System.Data.Common;

namespace PyramidFlow.Server.Storage;

/// <summary>Where two databases differ.</summary>
internal abstract class SqlDialect : IAsyncDisposable
{
    /// <summary>Milliseconds since 1970 by the database's clock, so that clocks of machines may differ.</summary>
    public abstract string Now { get; }

    /// <summary>Put after a SELECT of jobs to take, so that workers do not wait for each other.</summary>
    public abstract string SkipLocked { get; }

    /// <summary>Statements to run once, before the tables are made.</summary>
    public virtual IReadOnlyList<string> Prepare => [];

    /// <summary>Run in the transaction that makes the tables, so that only one process does.</summary>
    public virtual IReadOnlyList<string> Exclusive => [];

    /// <summary>Opens a connection.</summary>
    public abstract Task<DbConnection> OpenAsync(CancellationToken cancel);

    /// <summary>Waits for the right to write; disposing gives it back.</summary>
    public abstract Task<IDisposable?> BeginWriteAsync(CancellationToken cancel);

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}
