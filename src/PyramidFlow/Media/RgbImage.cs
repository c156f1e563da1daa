namespace PyramidFlow.Media;

/// <summary>A picture: 8-bit sRGB, [height, width, 3].</summary>
public sealed record RgbImage
{
    /// <summary>Wraps pixels without a copy.</summary>
    /// <param name="width">Width in pixels, at least 1.</param>
    /// <param name="height">Height in pixels, at least 1.</param>
    /// <param name="pixels">width * height * 3 bytes, rows from the top, red first.</param>
    /// <exception cref="ArgumentException">The number of bytes is not that.</exception>
    public RgbImage(int width, int height, ReadOnlyMemory<byte> pixels)
    {
        if (width < 1 || height < 1 || pixels.Length != (long)width * height * 3)
            throw new ArgumentException($"{pixels.Length} bytes are not a {width}x{height} RGB picture", nameof(pixels));
        Width = width;
        Height = height;
        Pixels = pixels;
    }

    /// <summary>Width in pixels.</summary>
    public int Width { get; }

    /// <summary>Height in pixels.</summary>
    public int Height { get; }

    /// <summary>What was wrong with the file it was read from, one sentence; null when nothing was.</summary>
    public string? Warning { get; init; }

    /// <summary>The pixels, [height, width, 3].</summary>
    public ReadOnlyMemory<byte> Pixels { get; }
}
