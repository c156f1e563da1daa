using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Http;

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
