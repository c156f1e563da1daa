using System.Runtime.CompilerServices;
using System.Text.Json;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Http;

/// <summary>
/// The progress of a video as server-sent events: <c>progress</c> with the video, <c>preview</c> with a picture, and
/// finally <c>completed</c>, <c>failed</c> or <c>deleted</c>; <c>stopping</c> when the service stops earlier.
/// </summary>
internal sealed class EventStream(IVideoJobs jobs, IHostApplicationLifetime life)
{
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(15);

    // All watchers of a video get the same object, so its event is serialised once.
    private readonly ConditionalWeakTable<VideoJob, byte[]> events = [];
    private readonly ConditionalWeakTable<VideoJob, Task<byte[]?>> previews = [];

    public static Task WriteAsync(string id, HttpContext context, EventStream stream, CancellationToken cancellationToken) => stream.WriteAsync(id, context, cancellationToken);

    private async Task WriteAsync(string id, HttpContext context, CancellationToken cancellationToken)
    {
        var owner = Owner.From(context.User);
        // A missing video must be reported before the stream begins.
        await jobs.GetAsync(owner, id, cancellationToken).ConfigureAwait(false);
        var response = context.Response;
        response.ContentType = "text/event-stream";
        response.Headers.CacheControl = "no-store";
        response.Headers["X-Accel-Buffering"] = "no";
        if (HttpMethods.IsHead(context.Request.Method))
            return;
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, life.ApplicationStopping);
        await using var changes = jobs.WatchAsync(owner, id, ended.Token).GetAsyncEnumerator(ended.Token);
        var next = changes.MoveNextAsync().AsTask();
        try
        {
            var (preview, last, beat) = (0, (VideoJob?)null, Task.Delay(Beat, ended.Token));
            while (true)
            {
                // One timer serves many events: it is renewed only after it has elapsed, and not after the end.
                if (await Task.WhenAny(next, beat).ConfigureAwait(false) == beat && !ended.IsCancellationRequested)
                {
                    beat = Task.Delay(Beat, ended.Token);
                    await response.Body.WriteAsync(": still here\n\n"u8.ToArray(), cancellationToken).ConfigureAwait(false);
                    await response.Body.FlushAsync(cancellationToken).ConfigureAwait(false);
                    continue;
                }

                if (!await next.ConfigureAwait(false))
                    break;
                last = changes.Current;
                next = changes.MoveNextAsync().AsTask();
                await response.Body.WriteAsync(events.GetValue(last, Event), cancellationToken).ConfigureAwait(false);
                if (last.Progress is { Preview: var number } && number > preview && !last.HasEnded
                    && await previews.GetValue(last, PreviewAsync).WaitAsync(cancellationToken).ConfigureAwait(false) is { } picture)
                {
                    preview = number;
                    await response.Body.WriteAsync(picture, cancellationToken).ConfigureAwait(false);
                }

                await response.Body.FlushAsync(cancellationToken).ConfigureAwait(false);
            }

            if (last is { HasEnded: false })
                await response.Body.WriteAsync("event: deleted\ndata: {}\n\n"u8.ToArray(), cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (life.ApplicationStopping.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            // The video continues elsewhere, or here after a restart; browsers reconnect by themselves.
            await response.Body.WriteAsync("event: stopping\ndata: {}\n\n"u8.ToArray(), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            // The watch and the timer must end with the writing.
            await ended.CancelAsync().ConfigureAwait(false);
            await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static byte[] Event(VideoJob job)
    {
        var name = job.Status switch { VideoStatus.Completed => "completed", VideoStatus.Failed => "failed", _ => "progress" };
        return [.. System.Text.Encoding.ASCII.GetBytes($"event: {name}\ndata: "), .. JsonSerializer.SerializeToUtf8Bytes(VideoObject.Of(job), RestJson.Default.VideoObject), .. "\n\n"u8];
    }

    // Null when the preview was removed meanwhile.
    private async Task<byte[]?> PreviewAsync(VideoJob job)
    {
        try
        {
            var content = await jobs.OpenAsync(job.Owner, job.Id, VideoVariant.Preview, CancellationToken.None).ConfigureAwait(false);
            await using (content.Stream.ConfigureAwait(false))
            {
                using var png = new MemoryStream();
                await content.Stream.CopyToAsync(png).ConfigureAwait(false);
                var preview = new PreviewObject(job.Progress!.Preview, "data:image/png;base64," + Convert.ToBase64String(png.GetBuffer(), 0, (int)png.Length));
                return [.. "event: preview\ndata: "u8, .. JsonSerializer.SerializeToUtf8Bytes(preview, RestJson.Default.PreviewObject), .. "\n\n"u8];
            }
        }
        catch (JobException)
        {
            return null;
        }
    }
}

/// <summary>Streams a video while it is made.</summary>
internal static class LiveStream
{
    public static async Task WriteAsync(string id, HttpContext context, IVideoJobs jobs, IHostApplicationLifetime life, CancellationToken cancellationToken)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, life.ApplicationStopping);
        try
        {
            await WriteAsync(id, context, jobs, ended.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            if (!context.Response.HasStarted)
                throw ServiceFault.Stopping(e);
            // Aborted, so that no client takes a part for the whole video.
            context.Abort();
        }
    }

    private static async Task WriteAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancellationToken)
    {
        if (HttpMethods.IsHead(context.Request.Method))
        {
            await jobs.GetAsync(Owner.From(context.User), id, cancellationToken).ConfigureAwait(false);
            context.Response.ContentType = "video/mp4";
            return;
        }

        await using var pieces = jobs.StreamAsync(Owner.From(context.User), id, cancellationToken).GetAsyncEnumerator(cancellationToken);
        // Faults must be reported before the stream begins.
        var more = await pieces.MoveNextAsync().ConfigureAwait(false);
        context.Response.ContentType = "video/mp4";
        context.Response.Headers.CacheControl = "no-store";
        context.Response.Headers["X-Accel-Buffering"] = "no";
        for (; more; more = await pieces.MoveNextAsync().ConfigureAwait(false))
        {
            await context.Response.Body.WriteAsync(pieces.Current, cancellationToken).ConfigureAwait(false);
            await context.Response.Body.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
    }
}
