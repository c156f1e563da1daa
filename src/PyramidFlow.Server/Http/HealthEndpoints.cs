using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Http;

/// <summary>Whether the process lives, and whether it can do its work.</summary>
internal static class HealthEndpoints
{
    public static void MapHealth(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/health", () => Results.Text("ok")).ExcludeFromDescription();
        routes.MapGet("/health/ready", async (IJobStore store, VideoFolder folder, JobFeed feed, ModelCatalog catalog, BackgroundHealth health, CancellationToken cancel) =>
        {
            try
            {
                await store.RevisionAsync(cancel).ConfigureAwait(false);
                if (!Directory.Exists(folder.Videos))
                    return Results.Text("the folder of videos is not there", statusCode: 503);
                if (catalog.Look().Trouble is not null)
                    return Results.Text("the default model cannot be read, the log says why", statusCode: 503);
                return health.Trouble is { } trouble ? Results.Text(trouble, statusCode: 503) : Results.Text(string.Join('\n', Ready(feed, health)));
            }
            catch (Exception) when (!cancel.IsCancellationRequested)
            {
                return Results.Text("the queue's database cannot be reached", statusCode: 503);
            }
        }).ExcludeFromDescription();
    }

    private static IEnumerable<string> Ready(JobFeed feed, BackgroundHealth health)
    {
        yield return "ready";
        if (health.Nuisance is { } nuisance)
            yield return nuisance;
        if (feed.Unreadable is > 0 and var count)
            yield return $"{count} entries of the queue cannot be read and were set aside: the log names them";
    }
}
