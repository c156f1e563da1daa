using System.Globalization;

namespace PyramidFlow.Server.Domain;

/// <summary>Names of downloaded files.</summary>
internal static class VideoFileName
{
    /// <summary>File name for a download, derived from the prompt.</summary>
    /// <param name="job">The video.</param>
    /// <param name="withId">Whether the name has the id too, so that no other video has it.</param>
    public static string Of(VideoJob job, bool withId = false)
    {
        var words = (job.Request.Prompt ?? "").Split([.. Path.GetInvalidFileNameChars(), ' ', '.', ',', ':', ';', '"', '\'', '?', '*', '\n'], StringSplitOptions.RemoveEmptyEntries);
        var name = string.Join('-', words.Take(8)).ToLowerInvariant();
        return string.Create(CultureInfo.InvariantCulture, $"{(name.Length is 0 or > 80 ? "video" : name)}-{job.Request.Seed}{(withId ? $"-{job.Id[^8..]}" : "")}.{(job.Result?.Frames == 1 ? "png" : "mp4")}");
    }
}
