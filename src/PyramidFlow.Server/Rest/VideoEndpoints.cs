using Microsoft.Net.Http.Headers;
using PyramidFlow.Server.Jobs;
using PyramidFlow.Server.Safety;

namespace PyramidFlow.Server.Rest;

/// <summary>Videos and models over HTTP, in the shape of OpenAI's.</summary>
internal static class VideoEndpoints
{
    private const string IdempotencyKey = "Idempotency-Key";
    private const int KeyLength = 200;

    public static void MapVideos(this IEndpointRouteBuilder routes)
    {
        var videos = routes.MapGroup("/v1/videos").WithTags("videos").ProducesProblem(400).ProducesProblem(404);
        videos.MapPost("", CreateAsync).WithSummary("Asks for a video").Accepts<CreateVideo>("multipart/form-data", "application/json").Produces<VideoObject>()
            .ProducesProblem(413).ProducesProblem(415).ProducesProblem(429).RefuseTooManyEarly(IdempotencyKey).DisableAntiforgery();
        videos.MapGet("", ListAsync).WithSummary("Lists videos, the newest first").Produces<ListObject<VideoObject>>();
        videos.MapGet("/{id}", GetAsync).WithSummary("Where a video is on its way").Produces<VideoObject>();
        videos.MapDelete("/{id}", DeleteAsync).WithSummary("Stops a video within one step, and removes it").Produces<DeletedObject>();
        videos.MapPost("/{id}/cancel", CancelAsync).WithSummary("Stops a video within one step, and keeps it as failed").Produces<VideoObject>();
        videos.MapPost("/{id}/remix", RemixAsync).WithSummary("Makes a video again with another prompt, all else the same").Accepts<RemixVideo>("application/json", "multipart/form-data")
            .Produces<VideoObject>().ProducesProblem(429).RefuseTooManyEarly(IdempotencyKey).DisableAntiforgery();
        videos.MapPost("/extensions", ExtendAsync).WithSummary("Makes a video longer: {prompt, seconds, video: {id}} or a file as video").Accepts<ExtendVideo>("multipart/form-data", "application/json")
            .Produces<VideoObject>().ProducesProblem(429).RefuseTooManyEarly(IdempotencyKey).DisableAntiforgery();
        videos.MapGet("/{id}/content", ContentAsync).WithSummary("The video, or a picture of it: video, thumbnail, spritesheet, last_frame, input, preview").Produces(200, contentType: "video/mp4").ProducesProblem(409);
        videos.MapGet("/{id}/events", EventStream.WriteAsync).WithSummary("Progress and previews as server-sent events").Produces(200, contentType: "text/event-stream");
        videos.MapGet("/{id}/stream", LiveStream.WriteAsync).WithSummary("The video while it is made, from its beginning: fragmented mp4").Produces(200, contentType: "video/mp4").ProducesProblem(409);
        routes.MapGet("/v1/models", (IVideoJobs jobs) => Json(new ListObject<ModelObject>([.. jobs.Models.Select(ModelObject.Of)], false), RestJson.Default.ListObjectModelObject))
            .WithTags("models").WithSummary("Models there are, the default first").Produces<ListObject<ModelObject>>();
    }

    private static async Task<IResult> CreateAsync(HttpContext context, IVideoJobs jobs, RequestReader reader, CancellationToken cancel)
    {
        var (fields, upload) = await reader.ReadAsync(context.Request, cancel).ConfigureAwait(false);
        await using (upload)
        {
            var request = CreateFields.Read(fields, upload?.Kind, jobs.Models);
            return await SubmitAsync(context, jobs, request, upload?.Upload, cancel).ConfigureAwait(false);
        }
    }

    private static async Task<IResult> RemixAsync(string id, HttpContext context, IVideoJobs jobs, RequestReader reader, CancellationToken cancel)
    {
        var (fields, upload) = await reader.ReadAsync(context.Request, cancel).ConfigureAwait(false);
        await using (upload)
        {
            if (upload is not null)
                throw new JobException(JobFault.Invalid, "a remix begins with what its original began with: leave input_reference out") { Parameter = "input_reference" };
            var original = (await jobs.GetAsync(Owner.Of(context.User), id, cancel).ConfigureAwait(false)).Request;
            var request = original with
            {
                Prompt = fields.Text("prompt") ?? "",
                Schedule = [],
                Seconds = null,
                RemixedFrom = id,
                Input = original.Input is null ? null : new VideoInput(original.Input.Kind),
            };
            return await SubmitAsync(context, jobs, request, null, cancel).ConfigureAwait(false);
        }
    }

    private static async Task<IResult> ExtendAsync(HttpContext context, IVideoJobs jobs, RequestReader reader, CancellationToken cancel)
    {
        var (fields, upload) = await reader.ReadAsync(context.Request, cancel).ConfigureAwait(false);
        await using (upload)
        {
            var request = CreateFields.Read(fields, upload?.Kind, jobs.Models);
            if (fields.ReferredId("video") is { } id)
            {
                var original = (await jobs.GetAsync(Owner.Of(context.User), id, cancel).ConfigureAwait(false)).Request;
                request = original with { Prompt = request.Prompt, Schedule = request.Schedule, Seconds = request.Seconds, Frames = request.Frames, Input = new VideoInput(VideoInputKind.Video, id), RemixedFrom = null };
            }

            if (request.Input?.Kind != VideoInputKind.Video)
                throw new JobException(JobFault.Invalid, "there is no video to go on from: send its id as {\"video\": {\"id\": ...}}, or a file as video") { Parameter = "video" };
            return await SubmitAsync(context, jobs, request, upload?.Upload, cancel).ConfigureAwait(false);
        }
    }

    private static async Task<IResult> SubmitAsync(HttpContext context, IVideoJobs jobs, VideoRequest request, VideoUpload? upload, CancellationToken cancel)
    {
        var key = context.Request.Headers[IdempotencyKey].ToString();
        if (key.Length > KeyLength)
            throw new JobException(JobFault.Invalid, $"the idempotency key is longer than {KeyLength} characters") { Parameter = IdempotencyKey };
        var job = await jobs.SubmitAsync(Owner.Of(context.User), request, upload, key.Length == 0 ? null : key, cancel).ConfigureAwait(false);
        return Json(VideoObject.Of(job), RestJson.Default.VideoObject);
    }

    private static async Task<IResult> ListAsync(HttpContext context, IVideoJobs jobs, CancellationToken cancel, string? limit = null, string? after = null, string? order = null)
    {
        var fields = new RequestFields();
        fields.Set("limit", limit ?? "20");
        if (order is not (null or "asc" or "desc"))
            throw new JobException(JobFault.Invalid, "order is asc or desc") { Parameter = "order" };
        var list = await jobs.ListAsync(Owner.Of(context.User), new VideoQuery(fields.Whole("limit") ?? 20, after, order == "asc"), cancel).ConfigureAwait(false);
        var data = list.Jobs.Select(VideoObject.Of).ToList();
        return Json(new ListObject<VideoObject>(data, list.HasMore, data.FirstOrDefault()?.Id, data.LastOrDefault()?.Id), RestJson.Default.ListObjectVideoObject);
    }

    private static async Task<IResult> GetAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancel) =>
        Json(VideoObject.Of(await jobs.GetAsync(Owner.Of(context.User), id, cancel).ConfigureAwait(false)), RestJson.Default.VideoObject);

    private static async Task<IResult> CancelAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancel) =>
        Json(VideoObject.Of(await jobs.CancelAsync(Owner.Of(context.User), id, cancel).ConfigureAwait(false)), RestJson.Default.VideoObject);

    private static async Task<IResult> DeleteAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancel)
    {
        await jobs.DeleteAsync(Owner.Of(context.User), id, cancel).ConfigureAwait(false);
        return Json(new DeletedObject(id), RestJson.Default.DeletedObject);
    }

    private static async Task<IResult> ContentAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancel, string? variant = null, string? download = null)
    {
        var kind = variant switch
        {
            null or "video" => VideoVariant.Video,
            "thumbnail" => VideoVariant.Thumbnail,
            "spritesheet" => VideoVariant.Spritesheet,
            "last_frame" => VideoVariant.LastFrame,
            "input" => VideoVariant.Input,
            "preview" => VideoVariant.Preview,
            _ => throw new JobException(JobFault.Invalid, "variant is video, thumbnail, spritesheet, last_frame, input or preview") { Parameter = "variant" },
        };
        var content = await jobs.OpenAsync(Owner.Of(context.User), id, kind, cancel).ConfigureAwait(false);
        // What is finished never changes; what is another's must not stay in a shared cache.
        context.Response.Headers.CacheControl = kind == VideoVariant.Preview ? "no-store" : "private, max-age=86400";
        return Results.Stream(content.Stream, content.ContentType, download is null ? null : content.FileName, content.ChangedAt,
            new EntityTagHeaderValue($"\"{id}-{kind}-{content.ChangedAt.ToUnixTimeMilliseconds()}\""), enableRangeProcessing: true);
    }

    private static IResult Json<T>(T value, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) => Results.Json(value, type);
}
