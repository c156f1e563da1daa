using System.IO.Compression;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Net.Http.Headers;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Http;

/// <summary>Addresses of shared videos, and of several videos in one file.</summary>
internal static class KeepEndpoints
{
    /// <summary>Adds the addresses.</summary>
    public static void MapKeeping(this IEndpointRouteBuilder routes)
    {
        routes.MapPost("/v1/videos/{id}/share", ShareAsync).ExcludeFromDescription().DisableAntiforgery();
        routes.MapGet("/v1/videos/archive", ArchiveAsync).ExcludeFromDescription();
        routes.MapMethods(ShareLinks.Path + "/{token}/{variant}", ["GET", "HEAD"], SharedAsync).ExcludeFromDescription();
    }

    private static async Task<IResult> ShareAsync(string id, HttpContext context, ShareLinks links, CancellationToken cancellationToken, string? expires_in = null)
    {
        if (!int.TryParse(expires_in ?? "604800", System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var seconds)
            || seconds is < ShareLinks.LeastSeconds or > ShareLinks.MostSeconds)
            throw ServiceFault.ShareTimeInvalid(ShareLinks.LeastSeconds, ShareLinks.MostSeconds);
        var token = await links.CreateAsync(Owner.From(context.User), id, TimeSpan.FromSeconds(seconds), cancellationToken).ConfigureAwait(false);
        var link = new SharedLinkObject($"{context.Request.Scheme}://{context.Request.Host}{ShareLinks.AddressOf(token)}", DateTimeOffset.UtcNow.AddSeconds(seconds).ToUnixTimeSeconds());
        return Results.Json(link, RestJson.Default.SharedLinkObject);
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

        // The end of an entry is a few bytes, which ZipArchive writes at once however it is called.
        context.Features.GetRequiredFeature<IHttpBodyControlFeature>().AllowSynchronousIO = true;
        context.Response.ContentType = "application/zip";
        context.Response.Headers.ContentDisposition = "attachment; filename=videos.zip";
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
}

/// <summary>A link to a video.</summary>
/// <param name="Url">Its address.</param>
/// <param name="ExpiresAt">Seconds since 1970.</param>
internal sealed record SharedLinkObject(string Url, long ExpiresAt);
