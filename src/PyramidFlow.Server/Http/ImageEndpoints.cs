using System.ComponentModel;
using Microsoft.Net.Http.Headers;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Http;

/// <summary>
/// Stills in the form of OpenAI's images API: each is a video of one frame, which waits in the queue like any other. The answer comes when all are made. A link to a still needs no key and ends after an hour.
/// </summary>
internal static class ImageEndpoints
{
    /// <summary>Path of the links.</summary>
    public const string Files = "/v1/images/files";

    private const string Url = "url", Base64 = "b64_json", Png = "png";
    private static readonly TimeSpan LinkAge = TimeSpan.FromHours(1);

    // All GET endpoints answer HEAD as well.
    private static readonly string[] Read = ["GET", "HEAD"];

    public static void MapImages(this IEndpointRouteBuilder routes)
    {
        var images = routes.MapGroup("/v1/images").WithTags("images").Refuses(400, 401, 404);
        images.MapPost("/generations", CreateAsync).WithName("createImages").WithSummary("Makes pictures, and answers when all are made").Accepts<CreateImage>("application/json", "multipart/form-data").Produces<ImageList>()
            .Refuses(409, 415, 429, 503).RefuseTooManyEarly(VideoEndpoints.IdempotencyKey).DisableAntiforgery();
        images.MapMethods("/files/{link}", Read, FileAsync).WithName("getImageFile").WithSummary("Returns a picture by the link in url; needs no key").Answers("image/png").NeedsNoKey();
    }

    private static async Task<IResult> CreateAsync(
        HttpContext context, IVideoJobs jobs, RequestReader reader, LinkTokens tokens, IHostApplicationLifetime life, CancellationToken cancellationToken)
    {
        var (fields, upload) = await reader.ReadAsync(context.Request, KnownFields.Image, cancellationToken).ConfigureAwait(false);
        await using (upload)
        {
            var isLink = IsLink(fields);
            fields.LeaveOut("size", "auto");
            var asked = OpenAiNames.Replace(CreateFields.Read(fields, null, jobs.Models), jobs.Models);
            asked = asked with { Request = asked.Request with { Frames = 1 } };
            var made = await VideoEndpoints.SubmitAllAsync(context, jobs, fields, asked, null, cancellationToken).ConfigureAwait(false);
            using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, life.ApplicationStopping);
            try
            {
                var data = new List<ImageObject>();
                foreach (var job in made)
                {
                    await CompletedAsync(jobs, job, ended.Token).ConfigureAwait(false);
                    data.Add(isLink
                        ? new ImageObject(job.Id) { Url = LinkTo(context.Request, tokens, job) }
                        : new ImageObject(job.Id) { B64Json = Convert.ToBase64String(await BytesAsync(jobs, job, ended.Token).ConfigureAwait(false)) });
                }

                var request = made[0].Request;
                return Results.Json(new ImageList(made[0].CreatedAt.ToUnixTimeSeconds(), data, FormattableString.Invariant($"{request.Width}x{request.Height}")), RestJson.Default.ImageList);
            }
            catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
            {
                throw ServiceFault.Stopping(e);
            }
            catch when (context.Request.Headers[VideoEndpoints.IdempotencyKey].Count == 0)
            {
                // Nobody can ask for them any more.
                foreach (var job in made)
                    await TryCancelAsync(jobs, job).ConfigureAwait(false);
                throw;
            }
        }
    }

    // OpenAI's image models answer with the bytes, except those that are named dall-e.
    private static bool IsLink(RequestFields fields)
    {
        Check("output_format", Png);
        Check("background", "auto", "opaque");
        Check("response_format", Url, Base64);
        if (fields.IsTrue("stream"))
            throw ServiceFault.ValueInvalid("stream", "true", "pictures come when they are made; previews come by the events of a video");
        return (fields.Text("response_format") ?? (fields.Text("model")?.StartsWith("dall-e", StringComparison.Ordinal) == true ? Url : Base64)) == Url;

        void Check(string name, params ReadOnlySpan<string> values)
        {
            if (fields.Text(name) is { } value && !values.Contains(value))
                throw ServiceFault.ValueInvalid(name, $"\"{RequestFields.Short(value)}\"", $"use {string.Join(" or ", values!)}");
        }
    }

    private static async Task CompletedAsync(IVideoJobs jobs, VideoJob job, CancellationToken cancellationToken)
    {
        var last = job;
        await foreach (var state in jobs.WatchAsync(job.Owner, job.Id, cancellationToken).ConfigureAwait(false))
            last = state;
        if (!last.HasEnded)
            throw ServiceFault.VideoUnknown();
        if (last.Status == VideoStatus.Failed)
            throw ServiceFault.ImageFailed(last);
    }

    private static async Task<byte[]> BytesAsync(IVideoJobs jobs, VideoJob job, CancellationToken cancellationToken)
    {
        var content = await jobs.OpenAsync(job.Owner, job.Id, VideoVariant.LastFrame, cancellationToken).ConfigureAwait(false);
        await using (content.Stream.ConfigureAwait(false))
        {
            var bytes = new byte[content.Stream.Length];
            await content.Stream.ReadExactlyAsync(bytes, cancellationToken).ConfigureAwait(false);
            return bytes;
        }
    }

    private static async Task TryCancelAsync(IVideoJobs jobs, VideoJob job)
    {
        try
        {
            await jobs.CancelAsync(job.Owner, job.Id, CancellationToken.None).ConfigureAwait(false);
        }
        catch (JobException)
        {
            // It was deleted meanwhile.
        }
    }

    private static string LinkTo(HttpRequest request, LinkTokens tokens, VideoJob job) =>
        $"{request.Scheme}://{request.Host}{request.PathBase}{Files}/{tokens.Create(LinkPurpose.Image, job, LinkAge)}";

    private static async Task<IResult> FileAsync(string link, HttpContext context, IVideoJobs jobs, LinkTokens tokens, CancellationToken cancellationToken)
    {
        var job = await tokens.FindAsync(LinkPurpose.Image, link, cancellationToken).ConfigureAwait(false);
        var content = await jobs.OpenAsync(job.Owner, job.Id, VideoVariant.LastFrame, cancellationToken).ConfigureAwait(false);
        context.Response.Headers.CacheControl = "private, max-age=3600";
        // Whoever has the link may show the picture on a page of their own.
        context.Response.Headers["Cross-Origin-Resource-Policy"] = "cross-origin";
        return Results.Stream(content.Stream, content.ContentType, null, content.ChangedAt, new EntityTagHeaderValue($"\"{job.Id}\""), enableRangeProcessing: true);
    }
}

// The OpenAPI document shows this; its settings are added from the table of settings.
/// <summary>A request for pictures.</summary>
internal sealed record CreateImage
{
    [Description("A model of /v1/models; the default is its first.")]
    public string? Model { get; init; }

    [Description("So many pictures, each with the next seed; 1 to 10.")]
    public int? N { get; init; }

    [Description("url (a link that needs no key and ends after an hour) or b64_json; by default b64_json, for models named dall-e url.")]
    public string? ResponseFormat { get; init; }

    [Description("Only png.")]
    public string? OutputFormat { get; init; }

    [Description("Steps of each stage.")]
    public int? NumInferenceSteps { get; init; }
}

/// <summary>Pictures that were made.</summary>
/// <param name="Created">Seconds since 1970.</param>
/// <param name="Data">The pictures.</param>
/// <param name="Size">Such as 640x384.</param>
internal sealed record ImageList(long Created, IReadOnlyList<ImageObject> Data, string Size)
{
    public string OutputFormat { get; } = "png";

    public string Background { get; } = "opaque";
}

/// <summary>A picture that was made.</summary>
/// <param name="Id">Id of the video of one frame under which it is kept.</param>
internal sealed record ImageObject(string Id)
{
    /// <summary>The PNG in base64; null where a link was asked for.</summary>
    public string? B64Json { get; init; }

    /// <summary>A link to the PNG; null where the bytes were asked for.</summary>
    public string? Url { get; init; }
}
