using System.Globalization;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page;

/// <summary>Addresses of a video's files, relative to the page.</summary>
internal static class VideoLinks
{
    public static string Video(VideoJob job) => Content(job, "video");

    public static string Thumbnail(VideoJob job) => Content(job, "thumbnail");

    public static string LastFrame(VideoJob job) => Content(job, "last_frame");

    public static string Input(VideoJob job) => Content(job, "input");

    /// <summary>The latest preview; its number makes the address of each another.</summary>
    public static string Preview(VideoJob job) => Content(job, "preview") + string.Create(CultureInfo.InvariantCulture, $"&n={job.Attempt}.{job.Progress?.Preview}");

    /// <summary>The video while it is made.</summary>
    public static string Live(VideoJob job) => $"v1/videos/{job.Id}/stream";

    /// <summary>A name to save it under that says what it is.</summary>
    public static string FileName(VideoJob job)
    {
        var words = (job.Request.Prompt ?? "").Split([.. Path.GetInvalidFileNameChars(), ' ', '.', ',', ':', ';', '"', '\'', '?', '*', '\n'], StringSplitOptions.RemoveEmptyEntries);
        var name = string.Join('-', words.Take(8)).ToLowerInvariant();
        return string.Create(CultureInfo.InvariantCulture, $"{(name.Length is 0 or > 80 ? "video" : name)}-{job.Request.Seed}.{(job.Result?.Frames == 1 ? "png" : "mp4")}");
    }

    private static string Content(VideoJob job, string variant) => $"v1/videos/{job.Id}/content?variant={variant}";
}
