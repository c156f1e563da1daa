namespace PyramidFlow.Media;

/// <summary>A run of decoded frames.</summary>
/// <param name="Count">Number of frames.</param>
/// <param name="Width">Width in pixels.</param>
/// <param name="Height">Height in pixels.</param>
/// <param name="Rgb">8-bit RGB, [count, height, width, 3].</param>
public sealed record VideoFrames(int Count, int Width, int Height, ReadOnlyMemory<byte> Rgb)
{
    /// <summary>One frame, without a copy.</summary>
    /// <param name="index">0 to <see cref="Count"/> - 1.</param>
    public RgbImage Frame(int index) =>
        new(Width, Height, Rgb.Slice(index * Width * Height * 3, Width * Height * 3));
}
