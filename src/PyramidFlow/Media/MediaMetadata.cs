namespace PyramidFlow.Media;

/// <summary>The texts stored in a picture or video: prompt, seed, settings.</summary>
public static class MediaMetadata
{
    /// <summary>
    /// Reads the texts of a .png, .gif, .mp4, .webm or other video, told by content and not by name. Keys are found in any
    /// case, because .webm and .mkv keep them in capitals.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="ct">Stops ffprobe.</param>
    /// <param name="tools">Which ffprobe for videos that this program did not write; by default what the environment names.</param>
    /// <exception cref="MediaException">The file is missing, is of another kind, or is damaged.</exception>
    public static async Task<IReadOnlyDictionary<string, string>> ReadAsync(
        string path, CancellationToken ct = default, FfmpegTools? tools = null)
    {
        var texts = ReadFile(path) ?? (await VideoReader.ProbeAsync(path, ct, tools).ConfigureAwait(false)).Metadata;
        var found = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var (key, text) in texts)
            found.TryAdd(key, text);
        return found;
    }

    // Null for what is left to ffprobe.
    private static IReadOnlyDictionary<string, string>? ReadFile(string path)
    {
        VideoReader.CheckFile(path);
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1 << 16);
            var start = new byte[PngChunk.Signature.Length];
            var length = file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
            file.Position = 0;
            if (start.AsSpan(0, length).SequenceEqual(PngChunk.Signature))
                return PngText.Read(file);
            return start.AsSpan(0, length).StartsWith("GIF8"u8) ? GifComments.Read(file) : Mp4Texts.Read(file);
        }
        catch (Exception e) when (e is IOException or InvalidDataException)
        {
            throw new MediaException($"{path} is damaged: {e.Message}", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new MediaException($"cannot read {path}: {e.Message}", e);
        }
    }
}
