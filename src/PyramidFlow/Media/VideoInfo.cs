using System.Globalization;
using System.Text.Json;

namespace PyramidFlow.Media;

/// <summary>Size, rate, length, format and metadata of a video file.</summary>
/// <param name="Width">Display width in pixels: rotation applied, square pixels.</param>
/// <param name="Height">Display height in pixels.</param>
/// <param name="Fps">Average frames per second.</param>
/// <param name="FrameCount">Number of frames, or null if unknown.</param>
/// <param name="Duration">Duration, or zero if unknown.</param>
/// <param name="Codec">ffmpeg name of the codec, such as <c>h264</c>.</param>
/// <param name="PixelFormat">ffmpeg name of the pixel format, such as <c>yuv420p</c>.</param>
/// <param name="Metadata">Metadata texts, by key.</param>
public sealed record VideoInfo(
    int Width,
    int Height,
    double Fps,
    long? FrameCount,
    TimeSpan Duration,
    string Codec,
    string PixelFormat,
    IReadOnlyDictionary<string, string> Metadata)
{
    /// <summary>Width of frames from ffmpeg: rotation applied, pixels as stored.</summary>
    internal int StoredWidth { get; init; } = Width;

    /// <summary>Height of frames from ffmpeg.</summary>
    internal int StoredHeight { get; init; } = Height;

    /// <summary>Pixel aspect ratio (width over height) after rotation.</summary>
    internal double PixelAspect { get; init; } = 1;

    /// <summary>Whether the video has timestamps to seek by; raw codec streams have none.</summary>
    internal bool CanSeek { get; init; } = true;

    /// <summary>The decoder to use where the default one of ffmpeg ignores transparency, else null.</summary>
    internal string? Decoder { get; init; }

    /// <summary>HDR colours, or null.</summary>
    internal HdrColours? Hdr { get; init; }

    /// <summary>Whether frames may have transparency.</summary>
    internal bool HasAlpha => Decoder is not null || IsAlphaFormat(PixelFormat);

    /// <summary>Conversion of stored frames for display.</summary>
    internal DisplayTransform Shown => new(PixelAspect, HasAlpha, Hdr);

    private static bool IsAlphaFormat(string name) => AlphaFormats.Any(start => name.StartsWith(start, StringComparison.Ordinal));

    private static readonly string[] AlphaFormats = ["rgba", "bgra", "argb", "abgr", "ya8", "ya16", "yuva", "gbrap", "ayuv", "vuya", "pal8"];
}

/// <summary>Parses the JSON of ffprobe into a <see cref="VideoInfo"/>.</summary>
internal static class VideoInfoReader
{
    // A higher rate is that of a clock, not of frames.
    private const double MostFps = 1e6;

    /// <summary>Reads the first video stream; null if there is none or its size is invalid.</summary>
    public static VideoInfo? Read(string json)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            return document.RootElement is { ValueKind: JsonValueKind.Object } root && root.TryGetProperty("streams", out var streams)
                && streams.ValueKind == JsonValueKind.Array && streams.GetArrayLength() > 0 && streams[0].ValueKind == JsonValueKind.Object
                ? Read(streams[0], root.TryGetProperty("format", out var format) ? format : default)
                : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // Not output of ffprobe, or a text with an unpaired surrogate.
            return null;
        }
    }

    private static VideoInfo? Read(JsonElement stream, JsonElement format)
    {
        if (Integer(stream, "width") is not { } width || Integer(stream, "height") is not { } height || !IsSide(width) || !IsSide(height))
            return null;
        var aspect = Pair(Text(stream, "sample_aspect_ratio"), ':') is var (above, below) ? DisplayTransform.AspectOf(above, below) : 1;
        if (Rotation(stream) % 180 != 0)
            (width, height, aspect) = (height, width, 1 / aspect);
        var shown = DisplayTransform.Size(width, height, aspect);
        if (!IsSide(shown.Width) || !IsSide(shown.Height))
            return null;
        var seconds = Number(stream, "duration") ?? Number(format, "duration") ?? 0;
        var frames = Integer(stream, "nb_frames") ?? Integer(stream, "nb_read_packets");
        var fps = Ratio(Text(stream, "avg_frame_rate")) ?? Ratio(Text(stream, "r_frame_rate")) ?? 0;
        var codec = Text(stream, "codec_name") ?? "";
        var tags = Tags(stream, format);
        return new VideoInfo((int)shown.Width, (int)shown.Height, fps, frames >= 0 ? frames : null, TimeSpan.FromSeconds(Math.Clamp(seconds, 0, 1e9)),
            codec, Text(stream, "pix_fmt") ?? "", tags)
        {
            StoredWidth = (int)width,
            StoredHeight = (int)height,
            PixelAspect = aspect,
            Decoder = AlphaDecoder(codec, tags),
            Hdr = HdrColours.FromNames(Text(stream, "color_transfer"), Text(stream, "color_primaries"), Text(stream, "color_space")),
        };
    }

    // The default VP8 and VP9 decoders of ffmpeg ignore the transparency that WebM stores beside the frames.
    private static string? AlphaDecoder(string codec, Dictionary<string, string> tags) =>
        tags.Any(tag => tag.Key.Equals("alpha_mode", StringComparison.OrdinalIgnoreCase) && tag.Value == "1")
            ? codec switch { "vp8" => "libvpx", "vp9" => "libvpx-vp9", _ => null }
            : null;

    private static bool IsSide(long size) => size is >= 1 and <= int.MaxValue;

    private static Dictionary<string, string> Tags(JsonElement stream, JsonElement format)
    {
        var tags = new Dictionary<string, string>();
        foreach (var holder in new[] { format, stream })
        {
            if (holder.ValueKind != JsonValueKind.Object || !holder.TryGetProperty("tags", out var held) || held.ValueKind != JsonValueKind.Object)
                continue;
            foreach (var tag in held.EnumerateObject())
                tags.TryAdd(tag.Name, tag.Value.ToString());
        }

        return tags;
    }

    private static long Rotation(JsonElement stream)
    {
        if (!stream.TryGetProperty("side_data_list", out var list) || list.ValueKind != JsonValueKind.Array)
            return 0;
        foreach (var data in list.EnumerateArray())
        {
            if (data.ValueKind == JsonValueKind.Object && Number(data, "rotation") is { } degrees)
                return (long)Math.Round(Math.IEEERemainder(degrees, 360));
        }

        return 0;
    }

    private static string? Text(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var value) ? value.ToString() : null;

    private static long? Integer(JsonElement element, string name) =>
        long.TryParse(Text(element, name), CultureInfo.InvariantCulture, out var value) ? value : null;

    private static double? Number(JsonElement element, string name) =>
        double.TryParse(Text(element, name), CultureInfo.InvariantCulture, out var value) && double.IsFinite(value) ? value : null;

    // Such as "30000/1001"; "0/0" means unknown.
    private static double? Ratio(string? text) =>
        Pair(text, '/') is var (above, below) && above > 0 && below > 0 && above / below is > 0 and <= MostFps ? above / below : null;

    private static (double, double)? Pair(string? text, char between)
    {
        var parts = text?.Split(between) ?? [];
        return parts.Length == 2
            && double.TryParse(parts[0], CultureInfo.InvariantCulture, out var first)
            && double.TryParse(parts[1], CultureInfo.InvariantCulture, out var second)
            ? (first, second)
            : null;
    }
}
