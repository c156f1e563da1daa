using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>
/// The tables in the common SQL of SQLite and PostgreSQL, and their migration. Times are milliseconds since 1970. The
/// counter <c>schema</c> holds the version of the tables; a store without it predates versions and has version 1.
/// </summary>
internal static class JobSchema
{
    // The definition of this table is the same in all versions.
    private const string Counters = "CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)";

    /// <summary>Columns that <see cref="JobRow"/> reads, in its order.</summary>
    public const string Columns = "id, owner, revision, status, attempt, created, started, completed, request, progress, error, result, model, fault, live, favourite";

    /// <summary>Number of <see cref="Columns"/>.</summary>
    public const int Count = 16;

    private const string Version1 = """
        INSERT INTO counters (name, value) VALUES ('revision', 0) ON CONFLICT (name) DO NOTHING;
        CREATE TABLE IF NOT EXISTS videos (
            id TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            seq BIGINT NOT NULL,
            revision BIGINT NOT NULL,
            status TEXT NOT NULL,
            model TEXT NOT NULL,
            work DOUBLE PRECISION NOT NULL,
            attempt INTEGER NOT NULL DEFAULT 0,
            created BIGINT NOT NULL,
            started BIGINT,
            completed BIGINT,
            not_before BIGINT NOT NULL DEFAULT 0,
            lease_until BIGINT,
            worker TEXT,
            idempotency_key TEXT,
            fingerprint TEXT,
            seconds_left DOUBLE PRECISION,
            bytes BIGINT NOT NULL DEFAULT 0,
            seconds DOUBLE PRECISION,
            request TEXT NOT NULL,
            progress TEXT,
            error TEXT,
            result TEXT);
        CREATE INDEX IF NOT EXISTS videos_queue ON videos (status, seq);
        CREATE INDEX IF NOT EXISTS videos_owner ON videos (owner, seq);
        CREATE INDEX IF NOT EXISTS videos_revision ON videos (revision);
        CREATE UNIQUE INDEX IF NOT EXISTS videos_key ON videos (owner, idempotency_key);
        """;

    // An unreadable row keeps its content; the reason and the original status stand in columns of their own.
    private const string Version2 = """
        ALTER TABLE videos ADD COLUMN fault TEXT;
        ALTER TABLE videos ADD COLUMN fault_status TEXT;
        CREATE TABLE requests (owner TEXT PRIMARY KEY, since BIGINT NOT NULL, count BIGINT NOT NULL);
        """;

    // Running workers, whether they have a job or not. A row that is not renewed belongs to a worker that is gone.
    private const string Version3 = "CREATE TABLE workers (name TEXT PRIMARY KEY, seen BIGINT NOT NULL, models TEXT NOT NULL, processes INTEGER NOT NULL)";

    // A job goes to a worker that has its LoRAs; owners take turns; videos of a day are counted from the first of them on.
    private const string Version4 = """
        ALTER TABLE videos ADD COLUMN loras TEXT NOT NULL DEFAULT '';
        ALTER TABLE workers ADD COLUMN loras TEXT NOT NULL DEFAULT '';
        CREATE TABLE turns (owner TEXT PRIMARY KEY, served BIGINT NOT NULL);
        CREATE TABLE days (owner TEXT PRIMARY KEY, since BIGINT NOT NULL, count BIGINT NOT NULL);
        """;

    // The ends of videos that are announced elsewhere.
    private const string Version5 = """
        ALTER TABLE videos ADD COLUMN webhook TEXT;
        CREATE TABLE webhooks (id TEXT PRIMARY KEY, video TEXT NOT NULL, owner TEXT NOT NULL, url TEXT NOT NULL, event TEXT NOT NULL, created BIGINT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0, not_before BIGINT NOT NULL DEFAULT 0);
        CREATE INDEX webhooks_due ON webhooks (not_before);
        """;

    // A video can be changed while it is made, and marked by its owner.
    private const string Version6 = """
        ALTER TABLE videos ADD COLUMN live TEXT;
        ALTER TABLE videos ADD COLUMN favourite INTEGER NOT NULL DEFAULT 0;
        """;

    // The most units of a video that any attempt has finished, and the attempts since then; the memory of workers, and whether they take no more jobs.
    private const string Version7 = """
        ALTER TABLE videos ADD COLUMN units INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE videos ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
        UPDATE videos SET tries = attempt WHERE status IN ('queued', 'in_progress');
        ALTER TABLE workers ADD COLUMN device TEXT NOT NULL DEFAULT '';
        ALTER TABLE workers ADD COLUMN memory BIGINT NOT NULL DEFAULT 0;
        ALTER TABLE workers ADD COLUMN memory_used BIGINT NOT NULL DEFAULT 0;
        ALTER TABLE workers ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;
        """;

    // Each step makes the tables of one version from those of the version before. Steps are only ever added.
    private static readonly string[] Steps = [Version1, Version2, Version3, Version4, Version5, Version6, Version7];

    /// <summary>The version that this program reads and writes.</summary>
    public static long Version => Steps.Length;

    /// <summary>Creates the tables, or migrates them to <see cref="Version"/>.</summary>
    /// <exception cref="ServiceException">The tables have a newer version.</exception>
    public static async Task MigrateAsync(SqlDialect dialect, CancellationToken cancellationToken)
    {
        await using (var alone = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false))
        {
            foreach (var sql in dialect.Prepare)
                await alone.ExecuteAsync(sql, cancellationToken).ConfigureAwait(false);
        }

        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        foreach (var sql in dialect.Exclusive.Append(Counters))
            await session.ExecuteAsync(sql, cancellationToken).ConfigureAwait(false);
        var version = await ReadVersionAsync(session, cancellationToken).ConfigureAwait(false);
        foreach (var sql in Steps.Skip((int)version))
            await session.ExecuteAsync(sql, cancellationToken).ConfigureAwait(false);
        if (version < Version)
        {
            // A later program may read what an earlier one could not.
            await session.ExecuteAsync($"UPDATE videos SET status = fault_status, fault = NULL, fault_status = NULL WHERE status = '{JobRow.Unreadable}'", cancellationToken).ConfigureAwait(false);
            await session.ExecuteAsync("INSERT INTO counters (name, value) VALUES ('schema', @version) ON CONFLICT (name) DO UPDATE SET value = excluded.value", cancellationToken,
                ("version", Version)).ConfigureAwait(false);
        }

        await session.CommitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Reads the version of the tables; 0 when the store states none.</summary>
    /// <exception cref="ServiceException">The tables have a newer version.</exception>
    public static async Task<long> ReadVersionAsync(SqlSession session, CancellationToken cancellationToken)
    {
        var version = await session.ValueAsync<long>("SELECT value FROM counters WHERE name = 'schema'", cancellationToken).ConfigureAwait(false);
        return version <= Version ? version : throw ServiceFault.QueueNewer(version, Version);
    }
}

/// <summary>Names of models or LoRAs in a column. None has a line break: they are names of folders and files.</summary>
internal static class NameColumn
{
    private const char Separator = '\n';

    /// <summary>The names in their order.</summary>
    public static string Join(IEnumerable<string> names) => string.Join(Separator, names);

    /// <summary>The same text for the same names in any order.</summary>
    public static string JoinSet(IEnumerable<string> names) => Join(names.Distinct().Order(StringComparer.Ordinal));

    /// <summary>The names of a text.</summary>
    public static string[] Split(string text) => text.Split(Separator, StringSplitOptions.RemoveEmptyEntries);
}
