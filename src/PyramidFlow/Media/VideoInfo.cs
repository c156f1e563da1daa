using System.Globalization;
using System.Text.Json;

namespace PyramidFlow.Media;

/// <summary>What a video file says about itself.</summary>
/// <param name="Width">Width in pixels as shown: the camera's rotation applied, pixels square.</param>
/// <param name="Height">Height in pixels as shown.</param>
/// <param name="Fps">Average frames per second.</param>
/// <param name="FrameCount">Number of frames, or null when the file does not say.</param>
/// <param name="Duration">Duration, zero when the file does not say.</param>
/// <param name="Codec">Codec as ffmpeg names it, such as <c>h264</c>.</param>
/// <param name="PixelFormat">Pixel format as ffmpeg names it, such as <c>yuv420p</c>.</param>
/// <param name="Metadata">Texts stored in the file, by key.</param>
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
    /// <summary>Width of frames as ffmpeg hands them on: upright, pixels as stored.</summary>
    internal int StoredWidth { get; init; } = Width;

    /// <summary>Height of frames as ffmpeg hands them on.</summary>
    internal int StoredHeight { get; init; } = Height;

    /// <summary>Width of a pixel divided by its height, frames upright.</summary>
    internal double PixelAspect { get; init; } = 1;

    /// <summary>Whether frames from some second on can be found; raw streams of a codec have no times.</summary>
    internal bool CanSeek { get; init; } = true;

    /// <summary>The decoder to use where ffmpeg's own leaves out transparency, else null.</summary>
    internal string? Decoder { get; init; }

    /// <summary>HDR colours, or null.</summary>
    internal HdrColours? Hdr { get; init; }

    /// <summary>Whether parts of frames may be transparent.</summary>
    internal bool HasAlpha => Decoder is not null || IsAlphaFormat(PixelFormat);

    /// <summary>How frames become what is shown.</summary>
    internal ShownFrames Shown => new(PixelAspect, HasAlpha, Hdr);

    private static bool IsAlphaFormat(string name) => AlphaFormats.Any(start => name.StartsWith(start, StringComparison.Ordinal));

    private static readonly string[] AlphaFormats = ["rgba", "bgra", "argb", "abgr", "ya8", "ya16", "yuva", "gbrap", "ayuv", "vuya", "pal8"];
}

/// <summary>Turns ffprobe's JSON into a <see cref="VideoInfo"/>.</summary>
internal static class VideoInfoReader
{
    // Beyond this a rate is that of a clock and not of frames.
    private const double MostFps = 1e6;

    /// <summary>The first video stream, or null when there is none, or it has no size that can be.</summary>
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
            // Not what ffprobe writes, or half a character in a text: nothing that says what the video is.
            return null;
        }
    }

    private static VideoInfo? Read(JsonElement stream, JsonElement format)
    {
        if (Integer(stream, "width") is not { } width || Integer(stream, "height") is not { } height || !IsSide(width) || !IsSide(height))
            return null;
        var aspect = Pair(Text(stream, "sample_aspect_ratio"), ':') is var (above, below) ? ShownFrames.AspectOf(above, below) : 1;
        if (Rotation(stream) % 180 != 0)
            (width, height, aspect) = (height, width, 1 / aspect);
        var shown = ShownFrames.Size(width, height, aspect);
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
            Hdr = HdrColours.Of(Text(stream, "color_transfer"), Text(stream, "color_primaries"), Text(stream, "color_space")),
        };
    }

    // ffmpeg's own decoders of VP8 and VP9 leave out the transparency that WebM keeps beside the frames.
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

    // "30000/1001"; "0/0" when unknown.
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
