using System.Globalization;
using System.Text.Json;

namespace PyramidFlow.Media;

/// <summary>Turns ffprobe's JSON into a <see cref="VideoInfo"/>.</summary>
internal static class VideoInfoReader
{
    /// <summary>The first video stream, or null when there is none.</summary>
    public static VideoInfo? Read(string json)
    {
        using var document = JsonDocument.Parse(json);
        var root = document.RootElement;
        if (!root.TryGetProperty("streams", out var streams) || streams.GetArrayLength() == 0)
            return null;
        var stream = streams[0];
        var (width, height) = (Integer(stream, "width") ?? 0, Integer(stream, "height") ?? 0);
        if (width < 1 || height < 1)
            return null;
        if (Rotation(stream) % 180 != 0)
            (width, height) = (height, width);
        var format = root.GetProperty("format");
        var seconds = Number(stream, "duration") ?? Number(format, "duration") ?? 0;
        return new VideoInfo(
            (int)width,
            (int)height,
            Ratio(Text(stream, "avg_frame_rate")) ?? Ratio(Text(stream, "r_frame_rate")) ?? 0,
            Integer(stream, "nb_frames"),
            TimeSpan.FromSeconds(Math.Clamp(seconds, 0, 1e9)),
            Text(stream, "codec_name") ?? "",
            Text(stream, "pix_fmt") ?? "",
            Tags(stream, format));
    }

    private static Dictionary<string, string> Tags(JsonElement stream, JsonElement format)
    {
        var tags = new Dictionary<string, string>();
        foreach (var holder in new[] { format, stream })
        {
            if (!holder.TryGetProperty("tags", out var held))
                continue;
            foreach (var tag in held.EnumerateObject())
                tags.TryAdd(tag.Name, tag.Value.GetString() ?? "");
        }

        return tags;
    }

    private static long Rotation(JsonElement stream)
    {
        if (!stream.TryGetProperty("side_data_list", out var list))
            return 0;
        foreach (var data in list.EnumerateArray())
        {
            if (data.TryGetProperty("rotation", out var rotation) && rotation.TryGetDouble(out var degrees))
                return (long)Math.Round(degrees);
        }

        return 0;
    }

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) ? value.ToString() : null;

    private static long? Integer(JsonElement element, string name) =>
        long.TryParse(Text(element, name), CultureInfo.InvariantCulture, out var value) ? value : null;

    private static double? Number(JsonElement element, string name) =>
        double.TryParse(Text(element, name), CultureInfo.InvariantCulture, out var value) && double.IsFinite(value) ? value : null;

    // "30000/1001"; "0/0" when unknown.
    private static double? Ratio(string? text)
    {
        var parts = text?.Split('/') ?? [];
        return parts.Length == 2
            && double.TryParse(parts[0], CultureInfo.InvariantCulture, out var above)
            && double.TryParse(parts[1], CultureInfo.InvariantCulture, out var below)
            && above > 0 && below > 0
            ? above / below
            : null;
    }
}
