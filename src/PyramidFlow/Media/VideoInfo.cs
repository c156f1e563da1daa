namespace PyramidFlow.Media;

/// <summary>What a video file says about itself.</summary>
/// <param name="Width">Width in pixels as shown, the camera's rotation applied.</param>
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
    IReadOnlyDictionary<string, string> Metadata);
