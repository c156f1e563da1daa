using System.Numerics;

namespace PyramidFlow.Sprites;

/// <summary>Detects the sprite in single frames against a known background; holds scratch buffers for one clip.</summary>
internal sealed class SpriteFrameReader(int width, int height, Vector3 background)
{
    // The nearest pair of sprite and background colours is 113 apart; noise at 30 dB moves a pixel by 14.
    private const int MarkDistance = 50;
    private const int Border = 4;

    private readonly byte[] marks = new byte[width * height];
    private readonly int[] stack = new int[width * height];
    private readonly List<int> region = [];

    /// <summary>Size of a pixel relative to a frame of 128 pixels.</summary>
    private readonly float unit = Math.Min(width, height) / 128f;

    /// <summary>Detects the sprite of a frame; null if there is none.</summary>
    public SpriteSighting? Read(ReadOnlySpan<byte> frame)
    {
        var (r0, g0, b0) = ((int)background.X, (int)background.Y, (int)background.Z);
        for (int i = 0, at = 0; i < marks.Length; i++, at += 3)
        {
            var (r, g, b) = (frame[at] - r0, frame[at + 1] - g0, frame[at + 2] - b0);
            marks[i] = r * r + g * g + b * b > MarkDistance * MarkDistance ? (byte)1 : (byte)0;
        }

        if (!LargestRegion())
            return null;

        var colour = CoreColour(frame);
        var (x0, y0, x1, y1) = (width, height, 0, 0);
        foreach (var i in region)
        {
            var (y, x) = Math.DivRem(i, width);
            (x0, y0, x1, y1) = (Math.Min(x0, x), Math.Min(y0, y), Math.Max(x1, x), Math.Max(y1, y));
        }

        (x0, y0) = (Math.Max(0, x0 - Border), Math.Max(0, y0 - Border));
        (x1, y1) = (Math.Min(width, x1 + 1 + Border), Math.Min(height, y1 + 1 + Border));
        var box = (x0, y0, x1, y1);
        double area = 0, sumX = 0, sumY = 0;
        for (var y = y0; y < y1; y++)
        {
            for (var x = x0; x < x1; x++)
            {
                var a = Share(frame, y * width + x, colour);
                area += a;
                sumX += a * (x + 0.5);
                sumY += a * (y + 0.5);
            }
        }

        return area < LeastArea ? null : new(sumX / area, sumY / area, area, colour, box);
    }

    /// <summary>
    /// Coverage of a pixel by the sprite, 0..1: its position between background and sprite colour, with a steeper slope around one half so that
    /// noise does not count in flat regions.
    /// </summary>
    public float Share(ReadOnlySpan<byte> frame, int pixel, Vector3 colour)
    {
        var way = colour - background;
        var place = Vector3.Dot(Pixel(frame, pixel) - background, way) / way.LengthSquared();
        return Math.Clamp((place - 0.2f) / 0.6f, 0, 1);
    }

    private float LeastArea => 60 * unit * unit;

    private bool LargestRegion()
    {
        var largest = 0;
        var start = -1;
        for (var i = 0; i < marks.Length; i++)
        {
            if (marks[i] != 1)
                continue;
            var count = Flood(i, from: 1, to: 2, collect: false);
            if (count > largest)
                (largest, start) = (count, i);
        }

        if (largest < LeastArea)
            return false;
        region.Clear();
        Flood(start, from: 2, to: 3, collect: true);
        return true;
    }

    private int Flood(int start, byte from, byte to, bool collect)
    {
        var (depth, count) = (0, 0);
        stack[depth++] = start;
        marks[start] = to;
        while (depth > 0)
        {
            var i = stack[--depth];
            count++;
            if (collect)
                region.Add(i);
            var x = i % width;
            if (x > 0 && marks[i - 1] == from) Push(i - 1);
            if (x < width - 1 && marks[i + 1] == from) Push(i + 1);
            if (i >= width && marks[i - width] == from) Push(i - width);
            if (i < marks.Length - width && marks[i + width] == from) Push(i + width);
        }

        return count;

        void Push(int i)
        {
            marks[i] = to;
            stack[depth++] = i;
        }
    }

    private Vector3 CoreColour(ReadOnlySpan<byte> frame)
    {
        const int Depth = 2;
        var histogram = new int[3 * 256];
        var core = region.FindAll(i => i % width >= Depth && i % width < width - Depth && i >= Depth * width &&
            i < marks.Length - Depth * width && marks[i - Depth] == 3 && marks[i + Depth] == 3 &&
            marks[i - Depth * width] == 3 && marks[i + Depth * width] == 3);
        if (core.Count == 0)
            core = region;
        foreach (var i in core)
        {
            for (var c = 0; c < 3; c++)
                histogram[c * 256 + frame[i * 3 + c]]++;
        }

        return SpriteStatistics.Median(histogram);
    }

    private static Vector3 Pixel(ReadOnlySpan<byte> frame, int i) =>
        new(frame[i * 3], frame[i * 3 + 1], frame[i * 3 + 2]);
}

/// <summary>A sprite detected in a frame: centroid and area in pixels, colour 0..255, and bounding box with a border.</summary>
internal sealed record SpriteSighting(
    double X, double Y, double Area, Vector3 Colour, (int X0, int Y0, int X1, int Y1) Box);

/// <summary>Medians, which are robust against outliers.</summary>
internal static class SpriteStatistics
{
    /// <summary>Median colour of a histogram of 3 x 256 bins.</summary>
    public static Vector3 Median(ReadOnlySpan<int> histogram) =>
        new(Channel(histogram[..256]), Channel(histogram[256..512]), Channel(histogram[512..]));

    /// <summary>Median of at least one number.</summary>
    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static int Channel(ReadOnlySpan<int> bins)
    {
        var total = 0L;
        foreach (var bin in bins)
            total += bin;
        var seen = 0L;
        for (var value = 0; value < bins.Length; value++)
        {
            seen += bins[value];
            if (2 * seen >= total)
                return value;
        }

        return bins.Length - 1;
    }
}
