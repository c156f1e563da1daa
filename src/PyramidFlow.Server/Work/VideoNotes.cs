using System.Text.Json;
using PyramidFlow.Server.Jobs;
using PyramidFlow.Server.Store;

namespace PyramidFlow.Server.Work;

/// <summary>How a video was made, kept in its file as JSON under <c>comment</c>.</summary>
internal static class VideoNotes
{
    public static IReadOnlyDictionary<string, string> Of(VideoJob job) =>
        new Dictionary<string, string> { ["comment"] = JsonSerializer.Serialize(job.Request, StoreJson.Default.VideoRequest) };
}
