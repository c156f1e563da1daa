using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Http;

/// <summary>Addresses for those who run the service: workers, the videos of all keys, keys and disk. To other keys, and without keys, there is nothing at them.</summary>
internal static class AdminEndpoints
{
    private static readonly string[] Read = ["GET", "HEAD"];

    public static void MapAdministration(this IEndpointRouteBuilder routes)
    {
        var admin = routes.MapGroup("/v1/admin").WithTags("administration").Refuses(400, 401, 404);
        admin.MapMethods("/workers", Read, WorkersAsync).WithName("listWorkers").WithSummary("Lists the workers, with what each makes").Produces<ListObject<AdminWorkerObject>>();
        admin.MapPost("/workers/{name}/drain", (string name, HttpContext context, Administration administration, CancellationToken cancellationToken) => SetDrainingAsync(name, true, context, administration, cancellationToken))
            .WithName("drainWorker").WithSummary("Lets a worker take no more videos after the one that it makes").Produces<AdminWorkerObject>();
        admin.MapPost("/workers/{name}/resume", (string name, HttpContext context, Administration administration, CancellationToken cancellationToken) => SetDrainingAsync(name, false, context, administration, cancellationToken))
            .WithName("resumeWorker").WithSummary("Lets a worker take videos again").Produces<AdminWorkerObject>();
        admin.MapMethods("/videos", Read, ListAsync).WithName("listVideosOfAllKeys").WithSummary("Lists the videos of all keys, the newest first").Produces<ListObject<AdminVideoObject>>();
        admin.MapPost("/videos/{id}/cancel", CancelAsync).WithName("cancelVideoOfAnyKey").WithSummary("Stops a video of any key within one step; it stays with its owner as failed").Produces<AdminVideoObject>();
        admin.MapMethods("/keys", Read, KeysAsync).WithName("listKeys").WithSummary("Lists the keys with their limits and what they use, never their secrets").Produces<ListObject<AdminKeyObject>>();
        admin.MapMethods("/disk", Read, DiskAsync).WithName("getDisk").WithSummary("Returns what the data folder takes of its disk").Produces<AdminDiskObject>();
    }

    private static async Task<IResult> WorkersAsync(HttpContext context, Administration administration, CancellationToken cancellationToken) =>
        Json(context, new ListObject<AdminWorkerObject>([.. (await administration.WorkersAsync(Owner.From(context.User), cancellationToken).ConfigureAwait(false)).Select(AdminWorkerObject.Of)], false), RestJson.Default.ListObjectAdminWorkerObject);

    private static async Task<IResult> SetDrainingAsync(string name, bool isDraining, HttpContext context, Administration administration, CancellationToken cancellationToken) =>
        Json(context, AdminWorkerObject.Of(await administration.SetDrainingAsync(Owner.From(context.User), name, isDraining, cancellationToken).ConfigureAwait(false)), RestJson.Default.AdminWorkerObject);

    private static async Task<IResult> ListAsync(HttpContext context, Administration administration, CancellationToken cancellationToken, string? limit = null, string? after = null, string? status = null, string? key = null)
    {
        // Whoever may not see it learns nothing of its parameters either.
        if (!administration.Admits(Owner.From(context.User)))
            throw ServiceFault.AddressUnknown();
        var most = 20L;
        if (limit is not null && !PlainNumber.TryWhole(limit, out most))
            throw ServiceFault.LimitOutOfRange(VideoQuery.Most);
        if (after is not null && !VideoId.IsValid(after))
            throw ServiceFault.VideoAfterUnknown();
        VideoStatus? wanted = status switch
        {
            null => null,
            "queued" => VideoStatus.Queued,
            "in_progress" => VideoStatus.InProgress,
            "completed" => VideoStatus.Completed,
            "failed" => VideoStatus.Failed,
            _ => throw ServiceFault.StatusUnknown(),
        };
        var (jobs, hasMore) = await administration.ListAsync(Owner.From(context.User), new AdminQuery((int)Math.Clamp(most, 0, 1000)) { Status = wanted, Key = key, After = after }, cancellationToken).ConfigureAwait(false);
        var data = jobs.Select(job => AdminVideoObject.Of(job.Job, job.Worker)).ToList();
        return Json(context, new ListObject<AdminVideoObject>(data, hasMore, data.FirstOrDefault()?.Id, data.LastOrDefault()?.Id), RestJson.Default.ListObjectAdminVideoObject);
    }

    private static async Task<IResult> CancelAsync(string id, HttpContext context, Administration administration, CancellationToken cancellationToken) =>
        Json(context, AdminVideoObject.Of(await administration.CancelAsync(Owner.From(context.User), id, cancellationToken).ConfigureAwait(false), null), RestJson.Default.AdminVideoObject);

    private static async Task<IResult> KeysAsync(HttpContext context, Administration administration, CancellationToken cancellationToken) =>
        Json(context, new ListObject<AdminKeyObject>([.. (await administration.KeysAsync(Owner.From(context.User), cancellationToken).ConfigureAwait(false)).Select(AdminKeyObject.Of)], false), RestJson.Default.ListObjectAdminKeyObject);

    private static async Task<IResult> DiskAsync(HttpContext context, Administration administration, CancellationToken cancellationToken) =>
        Json(context, AdminDiskObject.Of(await administration.DiskAsync(Owner.From(context.User), cancellationToken).ConfigureAwait(false)), RestJson.Default.AdminDiskObject);

    private static IResult Json<T>(HttpContext context, T value, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        context.Response.Headers.CacheControl = "no-store";
        return Results.Json(value, type);
    }
}

/// <summary>A worker.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Alive">Whether it has given a sign of life within the time of a lease.</param>
/// <param name="Draining">Whether it takes no more videos.</param>
/// <param name="LastSeenAt">Its last sign of life, in seconds since 1970.</param>
/// <param name="Models">Ids of its models.</param>
/// <param name="Loras">Names of its LoRAs.</param>
/// <param name="Device">Its device, such as cpu or cuda:0.</param>
/// <param name="Processes">Processes that make each of its videos together.</param>
/// <param name="MemoryUsedBytes">Memory of its process.</param>
/// <param name="MemoryBytes">Memory of its machine, within the limits of its process.</param>
/// <param name="VideoId">The video that it makes; null for none.</param>
/// <param name="Key">Name of the key of that video.</param>
/// <param name="Progress">Percent of that video, 0 to 100.</param>
internal sealed record AdminWorkerObject(string Name, bool Alive, bool Draining, long LastSeenAt, IReadOnlyList<string> Models, IReadOnlyList<string> Loras, string Device, int Processes,
    long MemoryUsedBytes, long MemoryBytes, string? VideoId, string? Key, int Progress)
{
    public string Object { get; } = "admin.worker";

    public static AdminWorkerObject Of(SeenWorker worker)
    {
        var (state, entry) = (worker.State, worker.State.Entry);
        return new(entry.Name, worker.IsAlive, entry.IsDraining, state.SeenAt.ToUnixTimeSeconds(), entry.Models, entry.Loras, entry.Device, entry.Processes, entry.MemoryUsed, entry.Memory,
            state.Job, state.Owner is { } owner ? ApiKeys.NameOfOwner(owner.Name) : null, (int)(100 * state.Fraction));
    }
}

/// <summary>A video of any key, as those see it who run the service.</summary>
internal sealed record AdminVideoObject
{
    public required string Id { get; init; }

    public string Object { get; } = "admin.video";

    /// <summary>Name of its key.</summary>
    public required string Key { get; init; }

    /// <summary>queued, in_progress, completed or failed.</summary>
    public required string Status { get; init; }

    public required string Model { get; init; }

    public required string Prompt { get; init; }

    /// <summary>Seconds since 1970.</summary>
    public long CreatedAt { get; init; }

    public long? CompletedAt { get; init; }

    /// <summary>Percent, 0 to 100.</summary>
    public int Progress { get; init; }

    /// <summary>Place among those that wait, from 1.</summary>
    public int? QueuePosition { get; init; }

    public double? SecondsLeft { get; init; }

    /// <summary>Number of the attempt to make it.</summary>
    public int Attempt { get; init; }

    /// <summary>The stage and step of the work on it.</summary>
    public StageObject? Stage { get; init; }

    /// <summary>Units of it that are finished and kept for another attempt.</summary>
    public int FinishedUnits { get; init; }

    /// <summary>The unit, from 1, from which the attempt goes on; null begins with the first.</summary>
    public int? ResumedFromUnit { get; init; }

    /// <summary>The worker that makes it.</summary>
    public string? Worker { get; init; }

    public VideoError? Error { get; init; }

    public static AdminVideoObject Of(VideoJob job, string? worker)
    {
        var video = VideoObject.Of(job);
        return new()
        {
            Id = job.Id,
            Key = ApiKeys.NameOfOwner(job.Owner.Name),
            Status = video.Status,
            Model = video.Model,
            Prompt = video.Prompt,
            CreatedAt = video.CreatedAt,
            CompletedAt = video.CompletedAt,
            Progress = video.Progress,
            QueuePosition = video.QueuePosition,
            SecondsLeft = video.SecondsLeft,
            Attempt = job.Attempt,
            Stage = video.Stage,
            FinishedUnits = job.Progress?.FinishedUnits ?? 0,
            ResumedFromUnit = video.ResumedFromUnit,
            Worker = worker,
            Error = job.Error,
        };
    }
}

/// <summary>A key; its secret is kept nowhere.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Admin">Whether it is one of an administrator.</param>
/// <param name="Removed">Whether it was removed, and its videos are still kept.</param>
/// <param name="MaxActive">Most videos of it that may wait or be made at a time.</param>
/// <param name="MaxPerDay">Most new videos of it within 24 hours; null for any number.</param>
/// <param name="MaxPerMinute">Most new videos of it in a minute.</param>
/// <param name="Today">New videos within 24 hours, which begin with the first of them.</param>
/// <param name="Waiting">Videos that wait.</param>
/// <param name="Running">Videos that are made.</param>
/// <param name="Completed">Completed videos that are kept.</param>
/// <param name="Failed">Failed and cancelled videos that are kept.</param>
/// <param name="Bytes">Bytes of the files of completed videos.</param>
internal sealed record AdminKeyObject(string Name, bool Admin, bool Removed, int MaxActive, int? MaxPerDay, int MaxPerMinute, long Today, long Waiting, long Running, long Completed, long Failed, long Bytes)
{
    public string Object { get; } = "admin.key";

    public static AdminKeyObject Of(KeyState key) => new(key.Name, key.IsAdmin, key.IsRemoved, key.Limits.ActiveJobs, key.Limits.VideosPerDay == int.MaxValue ? null : key.Limits.VideosPerDay, key.Limits.RequestsPerMinute,
        key.Use.Today, key.Use.Waiting, key.Use.Running, key.Use.Completed, key.Use.Failed, key.Use.Bytes);
}

/// <summary>Disk space of the data folder.</summary>
/// <param name="Files">Number of files of videos.</param>
/// <param name="VideosBytes">Videos and what is kept with them.</param>
/// <param name="InterimBytes">Files that the end of their video removes: finished units, live streams, previews and files that are being written.</param>
/// <param name="UploadsBytes">Uploads that are being read.</param>
/// <param name="QueueBytes">The queue where it is a file; 0 for PostgreSQL.</param>
/// <param name="FreeBytes">Free bytes of the disk.</param>
/// <param name="TotalBytes">All bytes of the disk.</param>
/// <param name="KeepBytes">Bytes beyond which the oldest videos are removed; null for no limit.</param>
internal sealed record AdminDiskObject(long Files, long VideosBytes, long InterimBytes, long UploadsBytes, long QueueBytes, long FreeBytes, long TotalBytes, long? KeepBytes)
{
    public string Object { get; } = "admin.disk";

    public static AdminDiskObject Of(DiskUse use) => new(use.Files, use.Videos, use.Interim, use.Uploads, use.Queue, use.Free, use.Total, use.Keep);
}
