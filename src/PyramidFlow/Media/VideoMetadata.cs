using System.Text;

namespace PyramidFlow.Media;

/// <summary>The texts that go into a video, checked.</summary>
internal static class VideoMetadata
{
    // Linux takes at most 128 KiB in one argument.
    private const int MaxBytes = 120_000;

    /// <summary>Title and texts that are not empty.</summary>
    /// <exception cref="MediaException">A key or a text cannot be stored.</exception>
    public static IEnumerable<KeyValuePair<string, string>> Of(VideoWriterOptions options)
    {
        foreach (var (key, value) in options.Metadata.Prepend(new("title", options.Title ?? "")))
        {
            if (!IsKey(key))
                throw new MediaException($"metadata key '{key}' must be made of letters, digits and underscores");
            if (value.Contains('\0', StringComparison.Ordinal))
                throw new MediaException($"metadata {key} contains a null character: remove it");
            if (Encoding.UTF8.GetByteCount(value) > MaxBytes)
                throw new MediaException($"metadata {key} has {value.Length} characters: shorten it to {MaxBytes} bytes");
            if (value.Length != 0)
                yield return new(key, value);
        }
    }

    public static bool IsKey(ReadOnlySpan<char> key)
    {
        foreach (var c in key)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c != '_')
                return false;
        }

        return key.Length != 0;
    }
}
