using System.Data.Common;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;
using static PyramidFlow.Server.Storage.JobRow;

namespace PyramidFlow.Server.Storage;

/// <content>Unreadable rows are set aside: they get a status of their own and keep their content. Only their owners notice.</content>
internal sealed partial class SqlJobStore
{
    public async Task<IReadOnlyList<(string Id, string Reason)>> UnreadableAsync(CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.ReadAsync(dialect, cancellationToken).ConfigureAwait(false);
        return await session.RowsAsync($"SELECT id, fault FROM videos WHERE status = '{Unreadable}' AND {Named} ORDER BY seq",
            row => (row.GetString(0), row.IsDBNull(1) ? "" : row.GetString(1)), cancellationToken).ConfigureAwait(false);
    }

    // Reads rows of jobs. Unreadable rows are set aside and read again as such; if that fails, they are left out.
    private async Task<List<T>> JobsAsync<T>(SqlSession session, string sql, Func<DbDataReader, T> read, CancellationToken cancellationToken, params (string Name, object? Value)[] values)
    {
        var faults = new List<UnreadableRowException>();
        while (true)
        {
            var known = faults.Count;
            var rows = await session.RowsAsync(sql, row => Try(row, read, faults), cancellationToken, values).ConfigureAwait(false);
            if (faults.Count == known || known > 0 || !await TrySetAsideAsync(faults, cancellationToken).ConfigureAwait(false))
                return [.. rows.Where(row => row.IsThere).Select(row => row.Value)];
        }
    }

    private static (bool IsThere, T Value) Try<T>(DbDataReader row, Func<DbDataReader, T> read, List<UnreadableRowException> faults)
    {
        try
        {
            return (true, read(row));
        }
        catch (UnreadableRowException e)
        {
            faults.Add(e);
            return (false, default!);
        }
    }

    private async Task<bool> TrySetAsideAsync(List<UnreadableRowException> faults, CancellationToken cancellationToken)
    {
        try
        {
            await SetAsideAsync(faults, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (DbException e)
        {
            foreach (var fault in faults)
                LogLeftOut(logger, fault.Id, fault.Reason, e.Message);
            return false;
        }
    }

    private async Task SetAsideAsync(IReadOnlyList<UnreadableRowException> faults, CancellationToken cancellationToken)
    {
        await using var session = await SqlSession.WriteAsync(dialect, cancellationToken).ConfigureAwait(false);
        // A newer program can read them.
        await JobSchema.ReadVersionAsync(session, cancellationToken).ConfigureAwait(false);
        var changed = new List<UnreadableRowException>();
        foreach (var fault in faults)
        {
            var revision = await session.NextRevisionAsync(cancellationToken).ConfigureAwait(false);
            if (await session.ExecuteAsync(
                $"UPDATE videos SET fault = @reason, fault_status = CASE status WHEN '{InProgress}' THEN '{Queued}' ELSE status END, status = '{Unreadable}', revision = @revision, {NoLease} "
                + $"WHERE id = @id AND status NOT IN ('{Unreadable}', '{Deleted}')", cancellationToken, ("reason", fault.Reason), ("revision", revision), ("id", fault.Id)).ConfigureAwait(false) > 0)
            {
                changed.Add(fault);
            }
        }

        // A revision without a change would make all readers look for one.
        if (changed.Count > 0)
            await session.CommitAsync(cancellationToken).ConfigureAwait(false);
        foreach (var fault in changed)
            LogSetAside(logger, fault.Id, fault.Reason);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "{Id}: its entry in the queue cannot be read and is set aside, the others go on: {Reason}")]
    private static partial void LogSetAside(ILogger log, string id, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Id}: its entry in the queue cannot be read ({Reason}) and is left out: it cannot be set aside either: {Why}")]
    private static partial void LogLeftOut(ILogger log, string id, string reason, string why);
}

/// <summary>Converts rows to jobs.</summary>
internal static class JobRow
{
    public const string Queued = "queued", InProgress = "in_progress", Completed = "completed", Failed = "failed", Deleted = "deleted", Unreadable = "unreadable";

    /// <summary>Reads a row of <see cref="JobSchema.Columns"/>; a row that was set aside becomes a failed job.</summary>
    /// <exception cref="UnreadableRowException">The row is damaged or of a newer version.</exception>
    public static VideoJob Read(DbDataReader row)
    {
        var id = Text(row, 0);
        try
        {
            return row.GetString(3) == Unreadable ? SetAside(row, id) : Job(row, id);
        }
        catch (MalformedTextException e)
        {
            throw new UnreadableRowException(id, e.Message, e);
        }
        catch (Exception e) when (e is InvalidCastException or OverflowException or ArgumentException or InvalidOperationException)
        {
            throw new UnreadableRowException(id, "a value is out of range or of the wrong kind", e);
        }
    }

    /// <summary>Reads a row of id, status, attempt, completed and bytes for the cleanup of files; any row counts as existing.</summary>
    public static StoredState State(DbDataReader row)
    {
        try
        {
            var word = row.GetString(1);
            if (word != Unreadable)
                return new StoredState(Status(word), row.GetInt32(2), Optional(row, 3), row.GetInt64(4));
        }
        catch (Exception e) when (e is MalformedTextException or InvalidCastException or OverflowException or ArgumentException or InvalidOperationException)
        {
            // Its files stay until somebody has examined the entry.
        }

        return new StoredState(VideoStatus.Failed, 0, null, 0) { IsUnreadable = true };
    }

    /// <summary>Reads a first column that holds how a video can be changed while it is made; null for NULL and for what cannot be read.</summary>
    public static VideoLive? Live(DbDataReader row)
    {
        try
        {
            return Json(row, 0, "live", StoreJson.Default.VideoLive);
        }
        catch (MalformedTextException)
        {
            return null;
        }
    }

    /// <summary>Returns a text; empty for NULL.</summary>
    public static string Text(DbDataReader row, int column) => row.IsDBNull(column) ? "" : row.GetString(column);

    private static VideoJob Job(DbDataReader row, string id)
    {
        if (!VideoId.IsValid(id))
            throw new MalformedTextException(0, "its id is no id of a video");
        var request = Json(row, 8, "request", StoreJson.Default.VideoRequest) ?? throw new MalformedTextException(0, "request is missing");
        if (request is { Model: null } or { Width: null } or { Height: null })
            throw new MalformedTextException(0, "request: model, width or height is missing");
        if (request.Model != row.GetString(12))
            throw new MalformedTextException(0, $"request: model is {request.Model}, and {row.GetString(12)} in the entry itself");
        return new VideoJob
        {
            Id = id,
            Owner = new Owner(row.GetString(1)),
            Revision = row.GetInt64(2),
            Status = Status(row.GetString(3)),
            Attempt = row.GetInt32(4),
            CreatedAt = Time(row.GetInt64(5)),
            StartedAt = Optional(row, 6),
            CompletedAt = Optional(row, 7),
            Request = request,
            Progress = Json(row, 9, "progress", StoreJson.Default.VideoProgress),
            Error = Json(row, 10, "error", StoreJson.Default.VideoError),
            Result = Json(row, 11, "result", StoreJson.Default.VideoResult),
            Live = Json(row, 14, "live", StoreJson.Default.VideoLive),
            IsFavourite = row.GetInt32(15) != 0,
        };
    }

    // Must not fail, whatever the columns contain.
    private static VideoJob SetAside(DbDataReader row, string id) => new()
    {
        Id = id,
        Owner = new Owner(Text(row, 1)),
        Revision = Whole(row, 2),
        Status = VideoStatus.Failed,
        Attempt = (int)Math.Clamp(Whole(row, 4), 0, int.MaxValue),
        CreatedAt = Clamped(Whole(row, 5)),
        CompletedAt = row.IsDBNull(7) ? null : Clamped(Whole(row, 7)),
        Request = new VideoRequest { Prompt = "(a video whose entry in the queue cannot be read)", Model = Text(row, 12) },
        Error = ServiceFault.Unreadable(row.IsDBNull(13) ? null : row.GetString(13)),
    };

    private static VideoStatus Status(string word) => word switch
    {
        Queued => VideoStatus.Queued,
        InProgress => VideoStatus.InProgress,
        Completed => VideoStatus.Completed,
        Failed => VideoStatus.Failed,
        _ => throw new MalformedTextException(0, $"status '{word}' is unknown to this version"),
    };

    private static DateTimeOffset? Optional(DbDataReader row, int column) => row.IsDBNull(column) ? null : Time(row.GetInt64(column));

    private static long Whole(DbDataReader row, int column) => row.IsDBNull(column) ? 0 : row.GetInt64(column);

    private static DateTimeOffset Time(long milliseconds) => DateTimeOffset.FromUnixTimeMilliseconds(milliseconds);

    private static DateTimeOffset Clamped(long milliseconds) =>
        Time(Math.Clamp(milliseconds, DateTimeOffset.MinValue.ToUnixTimeMilliseconds(), DateTimeOffset.MaxValue.ToUnixTimeMilliseconds()));

    private static T? Json<T>(DbDataReader row, int column, string name, JsonTypeInfo<T> type)
        where T : class
    {
        if (row.IsDBNull(column))
            return null;
        try
        {
            return StrictJson.Deserialize(row.GetString(column), type);
        }
        catch (MalformedTextException e)
        {
            throw new MalformedTextException(0, $"{name}: {e.Reason}", e.Key, e);
        }
    }
}

/// <summary>A row of the queue is damaged or was written by a newer program.</summary>
/// <param name="id">Id of the video.</param>
/// <param name="reason">The fault, for the operator of the service.</param>
/// <param name="inner">The cause.</param>
internal sealed class UnreadableRowException(string id, string reason, Exception inner) : Exception($"{id}: {reason}", inner)
{
    public string Id { get; } = id;

    public string Reason { get; } = reason;
}

/// <summary>Work of a request in arbitrary units, for estimates of its duration from those of others.</summary>
internal static class RequestWork
{
    public static double Estimate(VideoRequest request)
    {
        var units = Math.Ceiling((request.Frames ?? 1) / 8.0);
        var steps = (request.Steps?.Sum() ?? 1) + ((units - 1) * (request.VideoSteps?.Sum() ?? 1));
        return steps * (request.Width ?? 1) * (request.Height ?? 1);
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, UseStringEnumConverter = true)]
[JsonSerializable(typeof(VideoRequest))]
[JsonSerializable(typeof(VideoProgress))]
[JsonSerializable(typeof(VideoError))]
[JsonSerializable(typeof(VideoResult))]
[JsonSerializable(typeof(VideoLive))]
internal sealed partial class StoreJson : JsonSerializerContext;
