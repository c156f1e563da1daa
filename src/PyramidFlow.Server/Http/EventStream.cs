using System.Runtime.CompilerServices;
using System.Text.Json;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Http;

/// <summary>
/// The progress of a video as server-sent events: <c>progress</c> with the video, <c>preview</c> with a picture, and at last
/// <c>completed</c>, <c>failed</c> or <c>deleted</c>; <c>stopping</c> when the service stops before that.
/// </summary>
internal sealed class EventStream(IVideoJobs jobs, IHostApplicationLifetime life)
{
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(15);

    // All who watch a video are told the same object: its event is written once.
    private readonly ConditionalWeakTable<VideoJob, byte[]> events = [];
    private readonly ConditionalWeakTable<VideoJob, Task<byte[]?>> previews = [];

    public static Task WriteAsync(string id, HttpContext context, EventStream stream, CancellationToken cancel) => stream.WriteAsync(id, context, cancel);

    private async Task WriteAsync(string id, HttpContext context, CancellationToken cancel)
    {
        var owner = Owner.Of(context.User);
        // A video that is not there is to be answered as such, before the stream begins.
        await jobs.GetAsync(owner, id, cancel).ConfigureAwait(false);
        var response = context.Response;
        response.ContentType = "text/event-stream";
        response.Headers.CacheControl = "no-store";
        response.Headers["X-Accel-Buffering"] = "no";
        if (HttpMethods.IsHead(context.Request.Method))
            return;
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancel, life.ApplicationStopping);
        await using var changes = jobs.WatchAsync(owner, id, ended.Token).GetAsyncEnumerator(ended.Token);
        var next = changes.MoveNextAsync().AsTask();
        try
        {
            var (preview, last, beat) = (0, (VideoJob?)null, Task.Delay(Beat, ended.Token));
            while (true)
            {
                // One timer for many events: it is renewed only when it has run out. One that was stopped beats no more.
                if (await Task.WhenAny(next, beat).ConfigureAwait(false) == beat && !ended.IsCancellationRequested)
                {
                    beat = Task.Delay(Beat, ended.Token);
                    await response.Body.WriteAsync(": still here\n\n"u8.ToArray(), cancel).ConfigureAwait(false);
                    await response.Body.FlushAsync(cancel).ConfigureAwait(false);
                    continue;
                }

                if (!await next.ConfigureAwait(false))
                    break;
                last = changes.Current;
                next = changes.MoveNextAsync().AsTask();
                await response.Body.WriteAsync(events.GetValue(last, Event), cancel).ConfigureAwait(false);
                if (last.Progress is { Preview: var number } && number > preview && !last.HasEnded
                    && await previews.GetValue(last, PreviewAsync).WaitAsync(cancel).ConfigureAwait(false) is { } picture)
                {
                    preview = number;
                    await response.Body.WriteAsync(picture, cancel).ConfigureAwait(false);
                }

                await response.Body.FlushAsync(cancel).ConfigureAwait(false);
            }

            if (last is { HasEnded: false })
                await response.Body.WriteAsync("event: deleted\ndata: {}\n\n"u8.ToArray(), cancel).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (life.ApplicationStopping.IsCancellationRequested && !cancel.IsCancellationRequested)
        {
            // The video goes on elsewhere, or here after a restart; a browser comes back by itself.
            await response.Body.WriteAsync("event: stopping\ndata: {}\n\n"u8.ToArray(), cancel).ConfigureAwait(false);
        }
        finally
        {
            // Whatever ends the writing ends the listening and the timer too.
            await ended.CancelAsync().ConfigureAwait(false);
            await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static byte[] Event(VideoJob job)
    {
        var name = job.Status switch { VideoStatus.Completed => "completed", VideoStatus.Failed => "failed", _ => "progress" };
        return [.. System.Text.Encoding.ASCII.GetBytes($"event: {name}\ndata: "), .. JsonSerializer.SerializeToUtf8Bytes(VideoObject.Of(job), RestJson.Default.VideoObject), .. "\n\n"u8];
    }

    // Null when it has been removed meanwhile.
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

/// <summary>A video while it is made.</summary>
internal static class LiveStream
{
    public static async Task WriteAsync(string id, HttpContext context, IVideoJobs jobs, IHostApplicationLifetime life, CancellationToken cancel)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancel, life.ApplicationStopping);
        try
        {
            await WriteAsync(id, context, jobs, ended.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            if (!context.Response.HasStarted)
                throw new JobException(JobFault.Unavailable, "this service is being stopped: ask again in a moment", e);
            // Cut off, so that nobody takes what there is for the whole video.
            context.Abort();
        }
    }

    private static async Task WriteAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancel)
    {
        if (HttpMethods.IsHead(context.Request.Method))
        {
            await jobs.GetAsync(Owner.Of(context.User), id, cancel).ConfigureAwait(false);
            context.Response.ContentType = "video/mp4";
            return;
        }

        await using var pieces = jobs.StreamAsync(Owner.Of(context.User), id, cancel).GetAsyncEnumerator(cancel);
        // Faults are to be answered as such, before the stream begins.
        var more = await pieces.MoveNextAsync().ConfigureAwait(false);
        context.Response.ContentType = "video/mp4";
        context.Response.Headers.CacheControl = "no-store";
        context.Response.Headers["X-Accel-Buffering"] = "no";
        for (; more; more = await pieces.MoveNextAsync().ConfigureAwait(false))
        {
            await context.Response.Body.WriteAsync(pieces.Current, cancel).ConfigureAwait(false);
            await context.Response.Body.FlushAsync(cancel).ConfigureAwait(false);
        }
    }
}
