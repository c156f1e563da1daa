using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page.State;

/// <summary>What a screen reader says of a change.</summary>
internal static class SpokenChange
{
    /// <summary>Each state once, and of progress every quarter: more would be noise. Null is nothing to say.</summary>
    /// <param name="before">How the video was; null when it is new.</param>
    /// <param name="now">How it is; null when it is gone.</param>
    public static string? Of(VideoJob? before, VideoJob? now) => now?.Status switch
    {
        null => null,
        _ when before is null => now.Status == VideoStatus.Queued ? $"{Words.Place(now.QueuePosition)}: {Words.Title(now)}" : null,
        VideoStatus.InProgress when before.Status == VideoStatus.Queued => $"Begun: {Words.Title(now)}",
        VideoStatus.InProgress when Quarter(now) > Quarter(before) => $"{Words.State(now)}: {Words.Title(now)}",
        VideoStatus.Queued when now.QueuePosition < before.QueuePosition => $"{Words.Place(now.QueuePosition)}: {Words.Title(now)}",
        VideoStatus.Completed or VideoStatus.Failed when !before.HasEnded => $"{Words.State(now)}: {Words.Title(now)}",
        _ => null,
    };

    private static int Quarter(VideoJob job) => (int)((job.Progress?.Fraction ?? 0) * 4);
}
