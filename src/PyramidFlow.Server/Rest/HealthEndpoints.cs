using System.Data.Common;
using PyramidFlow.Server.Files;
using PyramidFlow.Server.Store;

namespace PyramidFlow.Server.Rest;

/// <summary>Whether the process lives, and whether it can do its work.</summary>
internal static class HealthEndpoints
{
    public static void MapHealth(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/health", () => Results.Text("ok")).ExcludeFromDescription();
        routes.MapGet("/health/ready", async (IJobStore store, VideoFolder folder, CancellationToken cancel) =>
        {
            try
            {
                await store.RevisionAsync(cancel).ConfigureAwait(false);
                return Directory.Exists(folder.Videos) ? Results.Text("ready") : Results.Text("the folder of videos is not there", statusCode: 503);
            }
            catch (DbException)
            {
                return Results.Text("the queue's database cannot be reached", statusCode: 503);
            }
        }).ExcludeFromDescription();
    }
}
