using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Data;

/// <summary>
/// A line of an annotation file, or an item of a folder with texts or of a shard; its paths are absolute. The path of a member of a shard is that of the shard, with the name of the member after a slash.
/// </summary>
/// <param name="File">The annotation file, the folder or the shard.</param>
/// <param name="Line">Number of the line or item, from 1.</param>
public sealed record Annotation(string File, int Line)
{
    /// <summary>Path of the video, or null.</summary>
    public string? Video { get; init; }

    /// <summary>Path of the still image, or null; never set together with <see cref="Video"/>.</summary>
    public string? Image { get; init; }

    /// <summary>The caption, or null; an empty caption is valid.</summary>
    public string? Text { get; init; }

    /// <summary>Path of the VAE latents, or null.</summary>
    public string? Latent { get; init; }

    /// <summary>Path of the caption's features (<c>text_fea</c>), or null.</summary>
    public string? TextFeatures { get; init; }

    /// <summary>Frame numbers of the clip, from 0, unique and ascending; null samples frames by time.</summary>
    public IReadOnlyList<int>? Frames { get; init; }

    /// <summary>Path of the text file that has the caption, or should have; null where the caption belongs into the line.</summary>
    public string? CaptionFile { get; init; }

    /// <summary>Path of the video or image, or null.</summary>
    public string? Media => Video ?? Image;

    /// <summary>Where its files are, if they are members of a shard; null where the paths above are files.</summary>
    internal PackedItem? Packed { get; init; }

    /// <summary>Name of the line in error messages.</summary>
    public string Where => $"{File}, line {Line}";
}

/// <summary>Reads annotation files in the released format: UTF-8 JSON lines. Blank lines are skipped. A folder may take the place of a file (<see cref="TextFolder"/>).</summary>
internal static class AnnotationFile
{
    /// <summary>Reads a file and collects the faults of its lines.</summary>
    /// <exception cref="TrainingException">The file is missing or has no line.</exception>
    public static (IReadOnlyList<Annotation> Items, IReadOnlyList<DataFault> Faults) Scan(string path)
    {
        if (Directory.Exists(path))
            return TextFolder.Scan(path);
        var (items, faults) = (new List<Annotation>(), new List<DataFault>());
        foreach (var (number, text) in Lines(path))
        {
            try
            {
                items.Add(AnnotationParser.Parse(text, path, number));
            }
            catch (BadItemException e)
            {
                faults.Add(e.Fault(path, number));
            }
        }

        return items.Count + faults.Count > 0
            ? (items, faults)
            : throw TrainingFault.AnnotationsEmpty(path);
    }

    /// <summary>The folder that relative paths start from.</summary>
    internal static string FolderOf(string path)
    {
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        return Directory.Exists(full) ? full : Path.GetDirectoryName(full)!;
    }

    /// <summary>The lines of a file that are not blank, numbered from 1.</summary>
    /// <exception cref="TrainingException">The file is missing or cannot be read.</exception>
    internal static IEnumerable<(int Number, ReadOnlyMemory<byte> Utf8)> Lines(string path)
    {
        using var file = Open(path);
        using var lines = StrictLines.Read(file).GetEnumerator();
        while (Next())
        {
            if (lines.Current.Utf8.Span.ContainsAnyExcept(" \t\r"u8))
                yield return lines.Current;
        }

        bool Next()
        {
            try
            {
                return lines.MoveNext();
            }
            catch (Exception e) when (e is MalformedTextException or IOException)
            {
                throw TrainingFault.AnnotationsUnreadable(path, e);
            }
        }
    }

    private static FileStream Open(string path)
    {
        try
        {
            return File.OpenRead(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw TrainingFault.AnnotationsMissing(path, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw TrainingFault.AnnotationsUnreadable(path, e);
        }
    }
}

/// <summary>
/// Parses an annotation in the released format: a JSON object with <c>video</c> or <c>image</c>, <c>text</c>, <c>latent</c>,
/// <c>text_fea</c> and <c>frames</c>. Other keys are ignored.
/// </summary>
internal static class AnnotationParser
{
    /// <param name="json">The line.</param>
    /// <param name="file">The annotation file; relative paths are relative to its folder.</param>
    /// <param name="line">Line number, from 1.</param>
    /// <exception cref="BadItemException">The line is malformed.</exception>
    public static Annotation Parse(ReadOnlyMemory<byte> json, string file, int line)
    {
        using var document = ParseObject(json);
        var root = document.RootElement;
        var folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
        var annotation = new Annotation(file, line)
        {
            Video = PathOf(root, "video", folder),
            Image = PathOf(root, "image", folder),
            Text = Text(root, "text"),
            Latent = PathOf(root, "latent", folder),
            TextFeatures = PathOf(root, "text_fea", folder),
            Frames = Frames(root),
        };
        if (annotation is { Video: not null, Image: not null })
            throw Fault(TrainingFault.VideoAndImage());
        return (annotation.Media ?? annotation.Latent ?? annotation.Text) is not null
            ? annotation
            : throw Fault(TrainingFault.LineEmpty());
    }

    /// <summary>Parses what an item of a shard has beside its files: the keys <c>text</c> and <c>frames</c>.</summary>
    /// <param name="json">The member.</param>
    /// <exception cref="BadItemException">It is malformed.</exception>
    public static (string? Text, IReadOnlyList<int>? Frames) ParseCaption(ReadOnlyMemory<byte> json)
    {
        using var document = ParseObject(json);
        return (Text(document.RootElement, "text"), Frames(document.RootElement));
    }

    private static JsonDocument ParseObject(ReadOnlyMemory<byte> json)
    {
        JsonDocument document;
        try
        {
            document = StrictJson.Parse(json, new StrictJsonOptions(RepeatedKeys: true));
        }
        catch (MalformedTextException e)
        {
            throw Fault(TrainingFault.LineMalformed(e.Reason, e.Key, e));
        }

        if (document.RootElement.ValueKind == JsonValueKind.Object)
            return document;
        document.Dispose();
        throw Fault(TrainingFault.LineNotObject());
    }

    private static string? PathOf(JsonElement root, string key, string folder) => Text(root, key) switch
    {
        null => null,
        "" => throw Fault(TrainingFault.PathEmpty(key)),
        var path => Path.GetFullPath(path, folder),
    };

    private static string? Text(JsonElement root, string key)
    {
        if (!root.TryGetProperty(key, out var value) || value.ValueKind == JsonValueKind.Null)
            return null;
        return value.ValueKind != JsonValueKind.String ? throw Fault(TrainingFault.NoText(key))
            : value.GetString()!.Contains('\0', StringComparison.Ordinal) ? throw Fault(TrainingFault.NulInText(key))
            : value.GetString();
    }

    private static int[]? Frames(JsonElement root)
    {
        if (!root.TryGetProperty("frames", out var value) || value.ValueKind == JsonValueKind.Null)
            return null;
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() == 0)
            throw Fault(TrainingFault.NoFrameList());
        return [.. value.EnumerateArray()
            .Select(item => item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out var frame) && frame >= 0
                ? frame
                : throw Fault(TrainingFault.NoFrameNumber(StrictJson.Shown(item))))
            .Distinct().Order()];
    }

    private static BadItemException Fault(TrainingException error) => new(DataFaultKind.Line, error);
}
