namespace PyramidFlow.Server.Storage;

/// <summary>
/// The tables, in words that SQLite and PostgreSQL both know. Times are milliseconds since 1970. A store says in the counter
/// <c>schema</c> which version its tables have; one without it is of the time before versions, which is version 1.
/// </summary>
internal static class JobSchema
{
    /// <summary>Makes the table that holds the version; it stays as it is for all versions.</summary>
    public const string Counters = "CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)";

    /// <summary>The version of a store; no row when nothing is known of it.</summary>
    public const string ReadVersion = "SELECT value FROM counters WHERE name = 'schema'";

    /// <summary>Columns that <see cref="JobRow"/> reads, in its order.</summary>
    public const string Columns = "id, owner, revision, status, attempt, created, started, completed, request, progress, error, result, model, fault";

    /// <summary>How many they are.</summary>
    public const int Count = 14;

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

    // A row that cannot be read keeps what it holds: why it was set aside, and the status to which it may return, stand beside it.
    private const string Version2 = """
        ALTER TABLE videos ADD COLUMN fault TEXT;
        ALTER TABLE videos ADD COLUMN fault_status TEXT;
        CREATE TABLE requests (owner TEXT PRIMARY KEY, since BIGINT NOT NULL, count BIGINT NOT NULL);
        """;

    /// <summary>What makes the tables of each version from those before it: the first is version 1. Only ever added to.</summary>
    public static readonly IReadOnlyList<string> Steps = [Version1, Version2];

    /// <summary>The version that this program reads and writes.</summary>
    public static long Version => Steps.Count;
}

/// <summary>The whole store is of a newer version than this program knows.</summary>
/// <param name="version">Version of the store.</param>
public sealed class NewerStoreException(long version)
    : Exception($"the queue was last used by a newer version of this program (its tables are version {version}, this program knows up to {JobSchema.Version}): start that version, or use another --data or --database");
