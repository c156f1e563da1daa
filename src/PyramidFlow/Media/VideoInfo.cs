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
