namespace PyramidFlow.Server.Store;

/// <summary>The tables, in words that SQLite and PostgreSQL both know. Times are milliseconds since 1970.</summary>
internal static class JobSchema
{
    /// <summary>Makes what is not there yet.</summary>
    public const string Create = """
        CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
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
        CREATE TABLE IF NOT EXISTS requests (owner TEXT PRIMARY KEY, since BIGINT NOT NULL, count BIGINT NOT NULL);
        CREATE INDEX IF NOT EXISTS videos_queue ON videos (status, seq);
        CREATE INDEX IF NOT EXISTS videos_owner ON videos (owner, seq);
        CREATE INDEX IF NOT EXISTS videos_revision ON videos (revision);
        CREATE UNIQUE INDEX IF NOT EXISTS videos_key ON videos (owner, idempotency_key);
        """;

    /// <summary>Columns that <see cref="JobRow"/> reads, in its order.</summary>
    public const string Columns = "id, owner, revision, status, attempt, created, started, completed, request, progress, error, result";
}
