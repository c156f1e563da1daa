using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Data;

/// <summary>Reads the released form of an annotation: one JSON object with <c>video</c> or <c>image</c>, <c>text</c>, <c>latent</c>,
/// <c>text_fea</c> and <c>frames</c>. Other keys are let pass.</summary>
internal static class AnnotationParser
{
    /// <param name="json">The line.</param>
    /// <param name="file">Annotation file; relative paths are seen from its folder.</param>
    /// <param name="line">Number of the line, from 1.</param>
    /// <exception cref="BadItemException">The line is no such object.</exception>
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
            throw Fault("it has both video and image: give one of them");
        return (annotation.Media ?? annotation.Latent ?? annotation.Text) is not null
            ? annotation
            : throw Fault("it has none of video, image, latent and text");
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
            throw Fault(e.Reason);
        }

        if (document.RootElement.ValueKind == JsonValueKind.Object)
            return document;
        document.Dispose();
        throw Fault("it is not a JSON object such as {\"video\": \"a.mp4\", \"text\": \"a red ball\"}");
    }

    private static string? PathOf(JsonElement root, string key, string folder) => Text(root, key) switch
    {
        null => null,
        "" => throw Fault($"{key} is empty"),
        var path => Path.GetFullPath(path, folder),
    };

    private static string? Text(JsonElement root, string key)
    {
        if (!root.TryGetProperty(key, out var value) || value.ValueKind == JsonValueKind.Null)
            return null;
        return value.ValueKind != JsonValueKind.String ? throw Fault($"{key} is not a text")
            : value.GetString()!.Contains('\0', StringComparison.Ordinal) ? throw Fault($"{key} holds a NUL character: leave it out")
            : value.GetString();
    }

    private static int[]? Frames(JsonElement root)
    {
        if (!root.TryGetProperty("frames", out var value) || value.ValueKind == JsonValueKind.Null)
            return null;
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() == 0)
            throw Fault("frames is not a list of frame numbers such as [0, 2, 4]");
        return [.. value.EnumerateArray()
            .Select(item => item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out var frame) && frame >= 0
                ? frame
                : throw Fault($"frames has {StrictJson.Shown(item)}, which is no frame number: use whole numbers from 0"))
            .Distinct().Order()];
    }

    private static BadItemException Fault(string reason) => new(DataFaultKind.Line, reason);
}
