namespace PyramidFlow.Media;

/// <summary>Reads the metadata texts of a picture or video: prompt, seed, settings.</summary>
public static class MediaMetadata
{
    /// <summary>
    /// Reads the texts of a .png, .gif, .mp4, .webm or other video, detected by content, not by name. The case of keys does not
    /// matter, because .webm and .mkv store them in upper case.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="cancellationToken">Stops ffprobe.</param>
    /// <param name="tools">The ffprobe to run for videos that this program did not write; null takes it from the environment.</param>
    /// <exception cref="MediaException">The file is missing, has another format, or is damaged.</exception>
    public static async Task<IReadOnlyDictionary<string, string>> ReadAsync(
        string path, CancellationToken cancellationToken = default, FfmpegTools? tools = null)
    {
        var texts = ReadFile(path) ?? (await VideoReader.ProbeAsync(path, cancellationToken, tools).ConfigureAwait(false)).Metadata;
        var found = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var (key, text) in texts)
            found.TryAdd(key, text);
        return found;
    }

    /// <summary>Reads the texts of a seekable file that stand where this program writes them; null where there are none, or another program has to read them.</summary>
    /// <exception cref="InvalidDataException">The file is damaged, or ends before its texts do.</exception>
    internal static IReadOnlyDictionary<string, string>? ReadStart(Stream file)
    {
        var start = new byte[PngChunk.Signature.Length];
        var length = file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
        file.Position = 0;
        if (start.AsSpan(0, length).SequenceEqual(PngChunk.Signature))
            return PngText.Read(file);
        return start.AsSpan(0, length).StartsWith("GIF8"u8) ? GifComments.Read(file) : Mp4Texts.Read(file);
    }

    // Null if ffprobe has to read the file.
    private static IReadOnlyDictionary<string, string>? ReadFile(string path)
    {
        VideoReader.CheckFile(path);
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1 << 16);
            return ReadStart(file);
        }
        catch (Exception e) when (e is IOException or InvalidDataException)
        {
            throw MediaFault.Damaged(path, e.Message, e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw MediaFault.Unreadable(path, e);
        }
    }
}
