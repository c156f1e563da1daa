using System.Data.Common;
using System.IO.Compression;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Net.Http.Headers;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Http;

/// <summary>Endpoints for videos and models in the form of OpenAI's API, and what belongs to a video beyond it: links to share it, several in one file, the secret of its webhook.</summary>
internal static partial class VideoEndpoints
{
    /// <summary>The header by which a request is known when it is repeated.</summary>
    public const string IdempotencyKey = "Idempotency-Key";
    private const int KeyLength = 200, MostAtOnce = 10;

    // All GET endpoints answer HEAD as well.
    private static readonly string[] Read = ["GET", "HEAD"];

    public static void MapVideos(this IEndpointRouteBuilder routes)
    {
        var videos = routes.MapGroup("/v1/videos").WithTags("videos").Refuses(400, 401, 404);
        videos.MapPost("", CreateAsync).WithName("createVideo").WithSummary("Requests a video").Accepts<CreateVideo>("multipart/form-data", "application/json").Produces<VideoObject>()
            .Refuses(413, 415, 429).RefuseTooManyEarly(IdempotencyKey).DisableAntiforgery();
        videos.MapMethods("", Read, ListAsync).WithName("listVideos").WithSummary("Lists videos, the newest first").Produces<ListObject<VideoObject>>();
        videos.MapMethods("/{id}", Read, GetAsync).WithName("getVideo").WithSummary("Returns a video and its state").Produces<VideoObject>();
        videos.MapDelete("/{id}", DeleteAsync).WithName("deleteVideo").WithSummary("Stops a video within one step, and removes it").Produces<DeletedObject>();
        videos.MapPost("/{id}/cancel", CancelAsync).WithName("cancelVideo").WithSummary("Stops a video within one step, and keeps it as failed").Produces<VideoObject>();
        videos.MapPost("/{id}/remix", RemixAsync).WithName("remixVideo").WithSummary("Remixes a video: another prompt with the same settings").Accepts<RemixVideo>("application/json", "multipart/form-data")
            .Produces<VideoObject>().Refuses(429).RefuseTooManyEarly(IdempotencyKey).DisableAntiforgery();
        videos.MapPost("/edits", EditAsync).WithName("editVideo").WithSummary("Remixes a video of this service: {prompt, video: {id}}").Accepts<EditVideo>("multipart/form-data", "application/json")
            .Produces<VideoObject>().Refuses(429).RefuseTooManyEarly(IdempotencyKey).DisableAntiforgery();
        videos.MapPost("/extensions", ExtendAsync).WithName("extendVideo").WithSummary("Extends a video: {prompt, seconds, video: {id}}, or a file as video").Accepts<ExtendVideo>("multipart/form-data", "application/json")
            .Produces<VideoObject>().Refuses(429).RefuseTooManyEarly(IdempotencyKey).DisableAntiforgery();
        videos.MapMethods("/{id}/content", Read, ContentAsync).WithName("getVideoContent").WithSummary("Returns the video or a picture of it: video, thumbnail, spritesheet, last_frame, input, preview").Answers("video/mp4", "image/png").Refuses(409);
        videos.MapMethods("/{id}/events", Read, EventStream.WriteAsync).WithName("watchVideo").WithSummary("Streams progress and previews as server-sent events").Answers("text/event-stream");
        videos.MapMethods("/{id}/stream", Read, LiveStream.WriteAsync).WithName("streamVideo").WithSummary("Streams the video from its beginning while it is made: fragmented mp4").Answers("video/mp4").Refuses(409);
        videos.MapMethods("/archive", Read, ArchiveAsync).WithName("getVideoArchive").WithSummary("Returns several completed videos in one zip file").Answers("application/zip").Refuses(409);
        videos.MapPost("/{id}/share", ShareAsync).WithName("shareVideo").WithSummary("Makes a link by which anybody sees a completed video until a time").Produces<SharedLinkObject>().Refuses(409).DisableAntiforgery();
        routes.MapMethods(ShareLinks.Path + "/{token}/{variant}", Read, SharedAsync).ExcludeFromDescription();
        routes.MapMethods("/v1/webhooks/secret", Read, GetSecret).WithName("getWebhookSecret").WithTags("webhooks").WithSummary("Returns the secret that signs the webhooks of this key").Produces<WebhookSecretObject>().Refuses(401, 404);
        routes.MapMethods("/v1/models", Read, (IVideoJobs jobs) => Json(new ListObject<ModelObject>([.. jobs.Models.Select(ModelObject.Of)], false), RestJson.Default.ListObjectModelObject))
            .WithName("listModels").WithTags("models").WithSummary("Lists the models, the default first").Produces<ListObject<ModelObject>>().Refuses(401);
        routes.MapMethods("/v1/loras", Read, (IVideoJobs jobs) => Json(new ListObject<LoraObject>([.. jobs.Loras.Select(lora => new LoraObject(lora.Name, lora.Models))], false), RestJson.Default.ListObjectLoraObject))
            .WithName("listLoras").WithTags("models").WithSummary("Lists the LoRAs that requests may name, with the models that each fits").Produces<ListObject<LoraObject>>().Refuses(401);
        routes.MapMethods("/v1/models/{id}", Read, GetModel).WithName("getModel").WithTags("models").WithSummary("Returns a model").Produces<ModelObject>().Refuses(401, 404);
    }

    private static async Task<IResult> CreateAsync(HttpContext context, IVideoJobs jobs, RequestReader reader, CancellationToken cancellationToken)
    {
        var (fields, upload) = await reader.ReadAsync(context.Request, KnownFields.Create, cancellationToken).ConfigureAwait(false);
        await using (upload)
        {
            var asked = OpenAiNames.Replace(CreateFields.Read(fields, upload?.Kind, jobs.Models), jobs.Models);
            return await SubmitAsync(context, jobs, fields, asked, upload?.Upload, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async Task<IResult> RemixAsync(string id, HttpContext context, IVideoJobs jobs, RequestReader reader, CancellationToken cancellationToken)
    {
        var (fields, upload) = await reader.ReadAsync(context.Request, KnownFields.Remix, cancellationToken).ConfigureAwait(false);
        await using (upload)
            return await SubmitRemixAsync(id, fields, context, jobs, cancellationToken).ConfigureAwait(false);
    }

    // What OpenAI calls an edit of a video is a remix here: the same settings and the same seed with another prompt.
    private static async Task<IResult> EditAsync(HttpContext context, IVideoJobs jobs, RequestReader reader, CancellationToken cancellationToken)
    {
        var (fields, upload) = await reader.ReadAsync(context.Request, KnownFields.Edit, cancellationToken).ConfigureAwait(false);
        await using (upload)
        {
            if (upload is not null)
                throw ServiceFault.EditOfFile();
            return await SubmitRemixAsync(fields.ReferredId("video") ?? throw ServiceFault.NoVideoToEdit(), fields, context, jobs, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async Task<IResult> SubmitRemixAsync(string id, RequestFields fields, HttpContext context, IVideoJobs jobs, CancellationToken cancellationToken)
    {
        var original = (await jobs.GetAsync(Owner.From(context.User), id, cancellationToken).ConfigureAwait(false)).Request;
        var request = original with
        {
            Prompt = fields.Text("prompt") ?? "",
            Schedule = [],
            Seconds = null,
            RemixedFrom = id,
            Group = null,
            Webhook = fields.Text("webhook"),
            Input = original.Input is null ? null : original.Input with { FromJob = null },
        };
        return await SubmitAsync(context, jobs, fields, new AskedRequest(request), null, cancellationToken).ConfigureAwait(false);
    }

    private static async Task<IResult> ExtendAsync(HttpContext context, IVideoJobs jobs, RequestReader reader, CancellationToken cancellationToken)
    {
        var (fields, upload) = await reader.ReadAsync(context.Request, KnownFields.Extend, cancellationToken).ConfigureAwait(false);
        await using (upload)
        {
            var id = fields.ReferredId("video");
            var original = id is null ? null : (await jobs.GetAsync(Owner.From(context.User), id, cancellationToken).ConfigureAwait(false)).Request;
            var asked = OpenAiNames.Replace(CreateFields.Read(fields, upload?.Kind, jobs.Models, original?.Model), jobs.Models, original?.Model);
            var request = asked.Request;
            if (original is not null)
            {
                if (request.Input is not null)
                    throw ServiceFault.VideoAndInput();
                request = CreateFields.Over(request, original) with { Input = new VideoInput(VideoInputKind.Video, id) };
            }

            if (request.Input?.Kind != VideoInputKind.Video)
                throw ServiceFault.NoVideoToContinue();
            return await SubmitAsync(context, jobs, fields, asked with { Request = request }, upload?.Upload, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async Task<IResult> SubmitAsync(HttpContext context, IVideoJobs jobs, RequestFields fields, AskedRequest asked, VideoUpload? upload, CancellationToken cancellationToken)
    {
        var made = await SubmitAllAsync(context, jobs, fields, asked, upload, cancellationToken).ConfigureAwait(false);
        return Json(VideoObject.Of(made[0]) with { Ids = made.Count == 1 ? null : [.. made.Select(job => job.Id)] }, RestJson.Default.VideoObject);
    }

    /// <summary>Requests <c>n</c> videos, each with the next seed; all of them or none.</summary>
    public static async Task<IReadOnlyList<VideoJob>> SubmitAllAsync(HttpContext context, IVideoJobs jobs, RequestFields fields, AskedRequest asked, VideoUpload? upload, CancellationToken cancellationToken)
    {
        var (owner, key, count) = (Owner.From(context.User), context.Request.Headers[IdempotencyKey].ToString(), fields.Whole("n") ?? 1);
        if (count is < 1 or > MostAtOnce)
            throw ServiceFault.CountBeyondLimit(MostAtOnce);
        if (key.Length > KeyLength)
            throw ServiceFault.IdempotencyKeyTooLong(IdempotencyKey, KeyLength);
        var made = new List<VideoJob>();
        try
        {
            while (made.Count < count)
            {
                if (made.Count > 0 && upload is not null)
                    upload.Content.Position = 0;
                // Each has the next seed, and all are shown together.
                var request = made.Count == 0 ? asked.Request : made[0].Sibling(asked.Request, made.Count);
                made.Add(await jobs.SubmitAsync(owner, request, upload, key.Length == 0 ? null : new IdempotencyKey(key, count, made.Count), cancellationToken).ConfigureAwait(false));
            }
        }
        catch (Exception e)
        {
            // Not those of an earlier request with this idempotency key.
            var left = new List<string>();
            foreach (var job in key.Length == 0 ? made : [])
            {
                if (!await TryDeleteAsync(jobs, job).ConfigureAwait(false))
                    left.Add(job.Id);
            }

            if (left.Count > 0)
                LogLeft(context.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger(typeof(VideoEndpoints)), string.Join(", ", left));
            // Both names are one setting; the error must name the one that was sent.
            if (e is JobException { Field: "steps" } fault && fields.Has(KnownFields.InferenceSteps) && !fields.Has("steps"))
                throw ServiceFault.Renamed(fault, KnownFields.InferenceSteps);
            throw;
        }

        asked.Warn(context.Response, made[0].Request);
        return made;
    }

    // The error that the client gets is the one that ended its request.
    private static async Task<bool> TryDeleteAsync(IVideoJobs jobs, VideoJob job)
    {
        try
        {
            await jobs.DeleteAsync(job.Owner, job.Id, CancellationToken.None).ConfigureAwait(false);
            return true;
        }
        catch (Exception e) when (e is JobException or DbException or TimeoutException)
        {
            // Another request may have deleted it.
            return e is JobException { Kind: JobFaultKind.NotFound };
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "A request for several videos was refused, and those before the fault stay in the queue because they could not be deleted: {Ids}")]
    private static partial void LogLeft(ILogger log, string ids);

    private static async Task<IResult> ListAsync(HttpContext context, IVideoJobs jobs, CancellationToken cancellationToken, string? limit = null, string? after = null, string? order = null)
    {
        if (limit is not null && !PlainNumber.TryWhole(limit, out _))
            throw ServiceFault.LimitOutOfRange(VideoQuery.Most);
        if (after is not null && !VideoId.IsValid(after))
            throw ServiceFault.VideoAfterUnknown();
        if (order is not (null or "asc" or "desc"))
            throw ServiceFault.OrderUnknown();
        var list = await jobs.ListAsync(Owner.From(context.User), new VideoQuery(PlainNumber.TryWhole(limit, out var most) ? (int)Math.Clamp(most, 0, 1000) : 20, after, order == "asc"), cancellationToken).ConfigureAwait(false);
        var data = list.Jobs.Select(VideoObject.Of).ToList();
        return Json(new ListObject<VideoObject>(data, list.HasMore, data.FirstOrDefault()?.Id, data.LastOrDefault()?.Id), RestJson.Default.ListObjectVideoObject);
    }

    private static async Task<IResult> GetAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancellationToken) =>
        Json(VideoObject.Of(await jobs.GetAsync(Owner.From(context.User), id, cancellationToken).ConfigureAwait(false)), RestJson.Default.VideoObject);

    private static IResult GetModel(string id, HttpContext context, IVideoJobs jobs)
    {
        var models = jobs.Models;
        if (ModelCatalog.Among(models, id) is { } found)
            return Json(ModelObject.Of(found), RestJson.Default.ModelObject);
        if (!OpenAiNames.IsModel(id) || models.Count == 0)
            throw ServiceFault.ModelAddressUnknown(models);
        new AskedRequest(new VideoRequest()) { Model = id }.Warn(context.Response, new VideoRequest { Model = models[0].Id });
        return Json(ModelObject.Of(models[0]), RestJson.Default.ModelObject);
    }

    private static async Task<IResult> CancelAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancellationToken) =>
        Json(VideoObject.Of(await jobs.CancelAsync(Owner.From(context.User), id, cancellationToken).ConfigureAwait(false)), RestJson.Default.VideoObject);

    private static async Task<IResult> DeleteAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancellationToken)
    {
        await jobs.DeleteAsync(Owner.From(context.User), id, cancellationToken).ConfigureAwait(false);
        return Json(new DeletedObject(id), RestJson.Default.DeletedObject);
    }

    private static async Task<IResult> ContentAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancellationToken, string? variant = null, string? download = null)
    {
        var kind = variant switch
        {
            null or "video" => VideoVariant.Video,
            "thumbnail" => VideoVariant.Thumbnail,
            "spritesheet" => VideoVariant.Spritesheet,
            "last_frame" => VideoVariant.LastFrame,
            "input" => VideoVariant.Input,
            "preview" => VideoVariant.Preview,
            _ => throw ServiceFault.VariantUnknown(),
        };
        var content = await jobs.OpenAsync(Owner.From(context.User), id, kind, cancellationToken).ConfigureAwait(false);
        // Completed files never change; files of an owner must not stay in shared caches.
        context.Response.Headers.CacheControl = kind == VideoVariant.Preview ? "no-store" : "private, max-age=86400";
        return Results.Stream(content.Stream, content.ContentType, download is null ? null : content.FileName, content.ChangedAt,
            new EntityTagHeaderValue($"\"{id}-{kind}-{content.ChangedAt.ToUnixTimeMilliseconds()}\""), enableRangeProcessing: true);
    }

    private static async Task<IResult> ShareAsync(string id, HttpContext context, ShareLinks links, CancellationToken cancellationToken, string? expires_in = null)
    {
        long seconds = ShareLinks.UsualSeconds;
        if ((expires_in is not null && !PlainNumber.TryWhole(expires_in, out seconds)) || seconds is < ShareLinks.LeastSeconds or > ShareLinks.MostSeconds)
            throw ServiceFault.ShareTimeInvalid(ShareLinks.LeastSeconds, ShareLinks.MostSeconds);
        var token = await links.CreateAsync(Owner.From(context.User), id, TimeSpan.FromSeconds(seconds), cancellationToken).ConfigureAwait(false);
        return Json(new SharedLinkObject($"{context.Request.Scheme}://{context.Request.Host}{ShareLinks.AddressOf(token)}", DateTimeOffset.UtcNow.AddSeconds(seconds).ToUnixTimeSeconds()), RestJson.Default.SharedLinkObject);
    }

    // Reads only, and only what a page of a shared video shows.
    private static async Task<IResult> SharedAsync(string token, string variant, HttpContext context, ShareLinks links, IVideoJobs jobs, CancellationToken cancellationToken)
    {
        var kind = variant switch { "video" => VideoVariant.Video, "thumbnail" => VideoVariant.Thumbnail, "last_frame" => VideoVariant.LastFrame, _ => throw ServiceFault.AddressUnknown() };
        var job = await links.FindAsync(token, cancellationToken).ConfigureAwait(false);
        var content = await jobs.OpenAsync(job.Owner, job.Id, kind, cancellationToken).ConfigureAwait(false);
        // Each use asks whether the link still holds.
        context.Response.Headers.CacheControl = "private, no-cache";
        return Results.Stream(content.Stream, content.ContentType, null, content.ChangedAt, new EntityTagHeaderValue($"\"{job.Id}-{kind}\""), enableRangeProcessing: true);
    }

    private static async Task ArchiveAsync(HttpContext context, IVideoJobs jobs, CancellationToken cancellationToken, string? ids = null)
    {
        var named = (ids ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries);
        if (named.Length is 0 or > VideoQuery.Most)
            throw ServiceFault.ArchiveOfNone(VideoQuery.Most);
        var videos = new List<VideoJob>();
        foreach (var id in named.Distinct())
        {
            var job = await jobs.GetAsync(Owner.From(context.User), id, cancellationToken).ConfigureAwait(false);
            videos.Add(job.Status == VideoStatus.Completed ? job : throw ServiceFault.NotReady(job));
        }

        context.Response.ContentType = "application/zip";
        context.Response.Headers.ContentDisposition = "attachment; filename=videos.zip";
        if (HttpMethods.IsHead(context.Request.Method))
            return;
        // The end of an entry is a few bytes, which ZipArchive writes at once however it is called.
        context.Features.GetRequiredFeature<IHttpBodyControlFeature>().AllowSynchronousIO = true;
        await using var archive = await ZipArchive.CreateAsync(context.Response.Body, ZipArchiveMode.Create, leaveOpen: true, null, cancellationToken).ConfigureAwait(false);
        foreach (var job in videos)
        {
            var content = await jobs.OpenAsync(job.Owner, job.Id, job.Result?.Frames == 1 ? VideoVariant.LastFrame : VideoVariant.Video, cancellationToken).ConfigureAwait(false);
            await using (content.Stream.ConfigureAwait(false))
            {
                // Videos are compressed already.
                var entry = archive.CreateEntry(job.FileName(withId: true), CompressionLevel.NoCompression);
                var target = await entry.OpenAsync(cancellationToken).ConfigureAwait(false);
                await using (target.ConfigureAwait(false))
                    await content.Stream.CopyToAsync(target, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private static IResult GetSecret(HttpContext context, WebhookRules rules, WebhookSecrets secrets)
    {
        if (!rules.IsOn)
            throw ServiceFault.WebhooksOff(JobFaultKind.NotFound);
        context.Response.Headers.CacheControl = "no-store";
        return Json(new WebhookSecretObject(secrets.Shown(Owner.From(context.User))), RestJson.Default.WebhookSecretObject);
    }

    private static IResult Json<T>(T value, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) => Results.Json(value, type);
}

/// <summary>Endpoints for liveness and readiness.</summary>
internal static class HealthEndpoints
{
    public static void MapHealth(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/health", () => Results.Text("ok")).ExcludeFromDescription();
        routes.MapGet("/health/ready", async (IJobStore store, VideoFolder folder, JobFeed feed, ModelCatalog catalog, BackgroundHealth health, CancellationToken cancellationToken) =>
        {
            try
            {
                await store.RevisionAsync(cancellationToken).ConfigureAwait(false);
                if (!Directory.Exists(folder.Videos))
                    return Results.Text("the folder of videos is not there", statusCode: 503);
                if (catalog.Scan().Fault is not null)
                    return Results.Text("the default model cannot be read, the log says why", statusCode: 503);
                return health.Failure is { } failure ? Results.Text(failure, statusCode: 503) : Results.Text(string.Join('\n', Ready(feed, health)));
            }
            catch (Exception) when (!cancellationToken.IsCancellationRequested)
            {
                return Results.Text("the queue's database cannot be reached", statusCode: 503);
            }
        }).ExcludeFromDescription();
    }

    private static IEnumerable<string> Ready(JobFeed feed, BackgroundHealth health)
    {
        yield return "ready";
        if (health.Warning is { } warning)
            yield return warning;
        if (feed.Queue.Workers.Count == 0)
            yield return "no worker is running: videos wait in the queue until one is started";
        if (feed.Unreadable is > 0 and var count)
            yield return $"{count} entries of the queue cannot be read and were set aside: the log names them";
    }
}
