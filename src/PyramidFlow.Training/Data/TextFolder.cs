using System.Text;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Data;

/// <summary>
/// A folder in place of an annotation file: videos and pictures, each with its caption in a text file of the same name, such as <c>clip.mp4</c> and <c>clip.txt</c>.
/// Items are numbered by name. Other files, hidden ones and folders inside are ignored.
/// </summary>
internal static class TextFolder
{
    private const string TextEnding = ".txt";

    /// <summary>Endings of videos, with their dots.</summary>
    public static readonly HashSet<string> VideoEndings =
        new([".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".gif", ".h264"], StringComparer.OrdinalIgnoreCase);

    /// <summary>Endings of pictures, with their dots.</summary>
    public static readonly HashSet<string> ImageEndings = new([".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"], StringComparer.OrdinalIgnoreCase);

    /// <summary>Reads the captions.</summary>
    /// <param name="folder">The folder.</param>
    /// <returns>The items, also those without a caption, and the faults of captions that cannot be read.</returns>
    /// <exception cref="TrainingException">The folder has no video and no picture, or cannot be read.</exception>
    public static (IReadOnlyList<Annotation> Items, IReadOnlyList<DataFault> Faults) Scan(string folder)
    {
        var (items, faults) = (new List<Annotation>(), new List<DataFault>());
        foreach (var (i, media) in Media(folder).Index())
        {
            var isVideo = VideoEndings.Contains(Path.GetExtension(media));
            var captionFile = Path.ChangeExtension(media, TextEnding);
            var item = new Annotation(folder, i + 1) { Video = isVideo ? media : null, Image = isVideo ? null : media, CaptionFile = captionFile };
            try
            {
                items.Add(item with { Text = Caption(captionFile) });
            }
            catch (Exception e) when (e is MalformedTextException or IOException or UnauthorizedAccessException)
            {
                faults.Add(new DataFault(folder, i + 1, DataFaultKind.Damaged, TrainingFault.CaptionUnreadable(captionFile, e)) { Item = media });
            }
        }

        return items.Count + faults.Count > 0 ? (items, faults) : throw TrainingFault.FolderWithoutMedia(folder);
    }

    /// <summary>Items as the lines of an annotation file in the folder.</summary>
    public static IEnumerable<((string, int) Item, ReadOnlyMemory<byte> Utf8)> Lines(IEnumerable<Annotation> items) => items.Select(item =>
    {
        var (key, media) = item.Video is { } video ? ("video", video) : ("image", item.Image!);
        var text = item.Text is { } caption ? $",\"text\":{ReadableJson.Quote(caption)}" : "";
        return ((item.File, item.Line), (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes($"{{\"{key}\":{ReadableJson.Quote(Path.GetFileName(media))}{text}}}"));
    });

    private static List<string> Media(string folder)
    {
        try
        {
            return [.. Directory.EnumerateFiles(Path.GetFullPath(folder))
                .Where(path => Path.GetFileName(path)[0] != '.' && (VideoEndings.Contains(Path.GetExtension(path)) || ImageEndings.Contains(Path.GetExtension(path))))
                .Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw TrainingFault.AnnotationsUnreadable(folder, e);
        }
    }

    /// <summary>A caption on one line; null where nobody has written one yet.</summary>
    public static string? OnOneLine(string text)
    {
        var lines = text.Split(['\r', '\n'], StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return lines.Length > 0 ? string.Join(' ', lines) : null;
    }

    private static string? Caption(string path) => File.Exists(path) ? OnOneLine(StrictText.ReadFile(path)) : null;
}
