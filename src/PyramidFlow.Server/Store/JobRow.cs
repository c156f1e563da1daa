using System.Data.Common;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using PyramidFlow.Server.Jobs;

namespace PyramidFlow.Server.Store;

/// <summary>Between a row and a job.</summary>
internal static class JobRow
{
    public const string Queued = "queued", InProgress = "in_progress", Completed = "completed", Failed = "failed", Deleted = "deleted";

    /// <summary>A row of <see cref="JobSchema.Columns"/> as a job.</summary>
    public static VideoJob Read(DbDataReader row) => new()
    {
        Id = row.GetString(0),
        Owner = new Owner(row.GetString(1)),
        Revision = row.GetInt64(2),
        Status = Status(row.GetString(3)),
        Attempt = row.GetInt32(4),
        CreatedAt = Time(row.GetInt64(5)),
        StartedAt = row.IsDBNull(6) ? null : Time(row.GetInt64(6)),
        CompletedAt = row.IsDBNull(7) ? null : Time(row.GetInt64(7)),
        Request = Json(row, 8, StoreJson.Default.VideoRequest)!,
        Progress = Json(row, 9, StoreJson.Default.VideoProgress),
        Error = Json(row, 10, StoreJson.Default.VideoError),
        Result = Json(row, 11, StoreJson.Default.VideoResult),
    };

    public static VideoStatus Status(string word) => word switch
    {
        Queued => VideoStatus.Queued,
        InProgress => VideoStatus.InProgress,
        Completed => VideoStatus.Completed,
        _ => VideoStatus.Failed,
    };

    public static DateTimeOffset Time(long milliseconds) => DateTimeOffset.FromUnixTimeMilliseconds(milliseconds);

    private static T? Json<T>(DbDataReader row, int column, JsonTypeInfo<T> type) =>
        row.IsDBNull(column) ? default : JsonSerializer.Deserialize(row.GetString(column), type);
}
