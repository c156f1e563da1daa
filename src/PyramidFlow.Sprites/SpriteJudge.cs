using System.Numerics;

namespace PyramidFlow.Sprites;

/// <summary>
/// Measures the attributes of a clip without learned parts: the background from the border of the frame, the sprite by its distance from
/// the background, its colour from its core, its shape by overlap with templates, its motion from centroid and area over time. Distances are
/// in pixels of a 128 pixel frame and scale with the frame.
/// </summary>
internal static class SpriteJudge
{
    private const int BorderPixels = 3;
    private const float BackgroundSpread = 60, LeastBackgroundShare = 0.6f;
    private const float BackgroundTolerance = 45, ColourTolerance = 90;
    private const double LeastPresence = 0.5, LeastOverlap = 0.6;
    private const int ClearFrames = 9, LeastMotionFrames = 5;

    /// <summary>Judges a clip.</summary>
    /// <param name="frames">Interleaved RGB, [frames, height, width, 3].</param>
    /// <param name="frameCount">Number of frames, at least 1; a single frame has no motion.</param>
    /// <param name="width">Width in pixels, at least 16.</param>
    /// <param name="height">Height in pixels, at least 16.</param>
    /// <returns>The measured attributes; null where an attribute is unclear, and everywhere without a plain background.</returns>
    /// <exception cref="ArgumentException">The number of bytes is not frames x height x width x 3.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A size is too small.</exception>
    public static SpriteVerdict Judge(ReadOnlySpan<byte> frames, int frameCount, int width, int height)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(frameCount, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 16);
        ArgumentOutOfRangeException.ThrowIfLessThan(height, 16);
        var frameBytes = width * height * 3;
        if (frames.Length != (long)frameCount * frameBytes)
        {
            throw new ArgumentException(
                $"{frameCount} RGB frames of {width}x{height} take {(long)frameCount * frameBytes} bytes, " +
                $"got {frames.Length}",
                nameof(frames));
        }

        if (BackgroundColour(frames, frameCount, width, height) is not { } behind)
            return new();
        var background = Nearest(behind, Enum.GetValues<SpriteBackground>(), SpritePalette.Rgb,
            out var backgroundDistance);
        var verdict = new SpriteVerdict
        {
            Background = backgroundDistance <= BackgroundTolerance ? background : null,
        };

        var reader = new SpriteFrameReader(width, height, behind);
        var sightings = new SpriteSighting?[frameCount];
        for (var t = 0; t < frameCount; t++)
            sightings[t] = reader.Read(frames.Slice(t * frameBytes, frameBytes));
        var seen = Enumerable.Range(0, frameCount).Where(t => sightings[t] is not null).ToArray();
        verdict = verdict with { Presence = (double)seen.Length / frameCount };
        if (verdict.Presence < LeastPresence)
            return verdict;

        var core = new Vector3(
            (float)SpriteStatistics.Median(seen.Select(t => (double)sightings[t]!.Colour.X)),
            (float)SpriteStatistics.Median(seen.Select(t => (double)sightings[t]!.Colour.Y)),
            (float)SpriteStatistics.Median(seen.Select(t => (double)sightings[t]!.Colour.Z)));
        var colour = Nearest(core, Enum.GetValues<SpriteColour>(), SpritePalette.Rgb, out var colourDistance);
        var (shape, overlap) = BestShape(frames, frameBytes, width, reader, sightings, seen);
        var unit = Math.Min(width, height) / 128.0;
        verdict = verdict with
        {
            Colour = colourDistance <= ColourTolerance ? colour : null,
            ColourDistance = colourDistance,
            Shape = overlap >= LeastOverlap ? shape : null,
            ShapeOverlap = overlap,
        };
        verdict = WithMotion(verdict, sightings, unit);
        return WithSize(verdict, sightings, SpriteGeometry.UnitArea(shape), unit);
    }

    private static Vector3? BackgroundColour(ReadOnlySpan<byte> frames, int frameCount, int width, int height)
    {
        var border = new List<int>();
        for (var i = 0; i < width * height; i++)
        {
            var (y, x) = Math.DivRem(i, width);
            if (Math.Min(Math.Min(x, width - 1 - x), Math.Min(y, height - 1 - y)) < BorderPixels)
                border.Add(i);
        }

        var histogram = new int[3 * 256];
        for (var t = 0; t < frameCount; t++)
        {
            foreach (var i in border)
            {
                var at = (t * width * height + i) * 3;
                histogram[frames[at]]++;
                histogram[256 + frames[at + 1]]++;
                histogram[512 + frames[at + 2]]++;
            }
        }

        var median = SpriteStatistics.Median(histogram);
        var near = 0L;
        for (var t = 0; t < frameCount; t++)
        {
            foreach (var i in border)
            {
                var at = (t * width * height + i) * 3;
                var pixel = new Vector3(frames[at], frames[at + 1], frames[at + 2]);
                if ((pixel - median).LengthSquared() < BackgroundSpread * BackgroundSpread)
                    near++;
            }
        }

        return near < LeastBackgroundShare * border.Count * frameCount ? null : median;
    }

    private static T Nearest<T>(Vector3 colour, T[] palette, Func<T, (byte R, byte G, byte B)> rgb, out float distance)
    {
        float Distance(T entry)
        {
            var (r, g, b) = rgb(entry);
            return Vector3.Distance(colour, new(r, g, b));
        }

        var nearest = palette.MinBy(Distance)!;
        distance = Distance(nearest);
        return nearest;
    }

    private static (SpriteShape Shape, double Overlap) BestShape(
        ReadOnlySpan<byte> frames, int frameBytes, int width, SpriteFrameReader reader,
        SpriteSighting?[] sightings, int[] seen)
    {
        var largest = seen.Max(t => sightings[t]!.Area);
        var clear = Array.FindAll(seen, t => sightings[t]!.Area >= 0.6 * largest);
        var count = Math.Min(ClearFrames, clear.Length);
        var shapes = Enum.GetValues<SpriteShape>();
        var overlaps = new double[shapes.Length];
        for (var k = 0; k < count; k++)
        {
            var t = clear[k * (clear.Length - 1) / Math.Max(1, count - 1)];
            AddOverlaps(frames.Slice(t * frameBytes, frameBytes), width, reader, sightings[t]!, shapes, overlaps);
        }

        var best = Array.IndexOf(overlaps, overlaps.Max());
        return (shapes[best], overlaps[best] / count);
    }

    /// <summary>Adds a frame's soft intersection over union with each template of the same centroid and area.</summary>
    private static void AddOverlaps(
        ReadOnlySpan<byte> frame, int width, SpriteFrameReader reader, SpriteSighting sprite, SpriteShape[] shapes,
        double[] overlaps)
    {
        var (centreX, centreY) = ((float)sprite.X, (float)sprite.Y);
        var radii = Array.ConvertAll(shapes, shape => (float)Math.Sqrt(sprite.Area / SpriteGeometry.UnitArea(shape)));
        var both = new double[shapes.Length];
        for (var y = sprite.Box.Y0; y < sprite.Box.Y1; y++)
        {
            for (var x = sprite.Box.X0; x < sprite.Box.X1; x++)
            {
                var found = reader.Share(frame, y * width + x, sprite.Colour);
                if (found == 0)
                    continue;
                var (dx, dy) = (x + 0.5f - centreX, y + 0.5f - centreY);
                for (var i = 0; i < shapes.Length; i++)
                    both[i] += Math.Min(found, SpriteGeometry.Coverage(shapes[i], dx, dy, radii[i]));
            }
        }

        // Template and sprite have the same area, so the union is twice the area minus the intersection.
        for (var i = 0; i < shapes.Length; i++)
            overlaps[i] += both[i] / (2 * sprite.Area - both[i]);
    }

    /// <summary>
    /// Compares the first and the last eighth of the clip. Each change is divided by the change at the world's speed; the larger ratio decides,
    /// and ratios below one half mean rest.
    /// </summary>
    private static SpriteVerdict WithMotion(SpriteVerdict verdict, SpriteSighting?[] sightings, double unit)
    {
        var frames = sightings.Length;
        var window = Math.Max(1, frames / 8);
        var first = sightings.Take(window).OfType<SpriteSighting>().ToArray();
        var last = sightings.TakeLast(window).OfType<SpriteSighting>().ToArray();
        if (frames < LeastMotionFrames || first.Length == 0 || last.Length == 0)
            return verdict;

        double Change(Func<SpriteSighting, double> value) =>
            SpriteStatistics.Median(last.Select(value)) - SpriteStatistics.Median(first.Select(value));
        var travelX = Change(s => s.X) / unit;
        var travelY = Change(s => s.Y) / unit;
        var growth = Change(s => Math.Log(s.Area) / 2);

        // A start may leave only 30 pixels of travel, some of them within the windows.
        var worldTravel = Math.Min(SpriteWorld.PixelsPerFrame * (frames - window), 0.8 * SpriteWorld.LeastWay);
        var worldGrowth = Math.Log(SpriteWorld.Scale(SpriteMotion.Growing, frames - 1 - window / 2) /
            SpriteWorld.Scale(SpriteMotion.Growing, window / 2));
        var travelScore = Math.Max(Math.Abs(travelX), Math.Abs(travelY)) / worldTravel;
        var growthScore = Math.Abs(growth) / worldGrowth;
        var motion = Math.Max(travelScore, growthScore) < 0.5 ? SpriteMotion.Still
            : growthScore > travelScore ? growth > 0 ? SpriteMotion.Growing : SpriteMotion.Shrinking
            : Math.Abs(travelX) > Math.Abs(travelY) ? travelX > 0 ? SpriteMotion.Right : SpriteMotion.Left
            : travelY > 0 ? SpriteMotion.Down : SpriteMotion.Up;
        return verdict with { Motion = motion, TravelX = travelX, TravelY = travelY, Growth = Math.Exp(growth) };
    }

    private static SpriteVerdict WithSize(
        SpriteVerdict verdict, SpriteSighting?[] sightings, double unitArea, double unit)
    {
        var radii = sightings.OfType<SpriteSighting>().Select(s => Math.Sqrt(s.Area / unitArea) / unit)
            .OrderDescending().ToArray();
        var radius = radii[Math.Min(2, radii.Length / 8)];

        // Extrapolate the full radius of a clip that ends before the sprite is fully grown.
        if (verdict.Motion == SpriteMotion.Growing)
            radius /= SpriteWorld.Scale(SpriteMotion.Growing, sightings.Length - 1);
        var threshold = Math.Sqrt(SpriteWorld.Radius(SpriteSize.Small) * SpriteWorld.Radius(SpriteSize.Large));
        return verdict with { Radius = radius, Size = radius < threshold ? SpriteSize.Small : SpriteSize.Large };
    }
}

/// <summary>Result of <see cref="SpriteJudge"/>; unclear attributes are null.</summary>
internal sealed record SpriteVerdict
{
    /// <summary>Size of the sprite, from its largest radius.</summary>
    public SpriteSize? Size { get; init; }

    /// <summary>Nearest palette colour of the sprite's core.</summary>
    public SpriteColour? Colour { get; init; }

    /// <summary>Shape whose template overlaps best.</summary>
    public SpriteShape? Shape { get; init; }

    /// <summary>Motion of the sprite; null for clips of fewer than 5 frames.</summary>
    public SpriteMotion? Motion { get; init; }

    /// <summary>Nearest palette colour of the background.</summary>
    public SpriteBackground? Background { get; init; }

    /// <summary>Share of the frames that show a sprite, 0..1.</summary>
    public double Presence { get; init; }

    /// <summary>Distance of the sprite's colour from the palette entry in RGB, 0..442.</summary>
    public double ColourDistance { get; init; }

    /// <summary>Mean soft intersection over union with the best template, 0..1.</summary>
    public double ShapeOverlap { get; init; }

    /// <summary>Full radius of the sprite in pixels of a 128 pixel frame.</summary>
    public double Radius { get; init; }

    /// <summary>Travel of the centroid to the right from the first to the last frames, in pixels of a 128 pixel frame.</summary>
    public double TravelX { get; init; }

    /// <summary>Travel of the centroid down from the first to the last frames, in pixels of a 128 pixel frame.</summary>
    public double TravelY { get; init; }

    /// <summary>Radius in the last frames divided by the radius in the first frames.</summary>
    public double Growth { get; init; } = 1;

    /// <summary>All five attributes; null if one is missing.</summary>
    public SpriteAttributes? Attributes =>
        this is { Size: { } size, Colour: { } colour, Shape: { } shape, Motion: { } motion, Background: { } background }
            ? new SpriteAttributes(size, colour, shape, motion, background)
            : null;
}

/// <summary>Counts how often verdicts match the expected attributes.</summary>
internal sealed class SpriteAccuracy
{
    private int size, colour, shape, motion, background, all;

    /// <summary>Number of counted clips.</summary>
    public int Count { get; private set; }

    /// <summary>Share of clips with the right size, 0..1; all shares are NaN before the first clip.</summary>
    public double Size => (double)size / Count;

    /// <summary>Share of clips with the right colour, 0..1.</summary>
    public double Colour => (double)colour / Count;

    /// <summary>Share of clips with the right shape, 0..1.</summary>
    public double Shape => (double)shape / Count;

    /// <summary>Share of clips with the right motion, 0..1.</summary>
    public double Motion => (double)motion / Count;

    /// <summary>Share of clips with the right background, 0..1.</summary>
    public double Background => (double)background / Count;

    /// <summary>Share of clips with everything right, 0..1.</summary>
    public double All => (double)all / Count;

    /// <summary>Mean of the five shares, 0..1.</summary>
    public double Mean => (Size + Colour + Shape + Motion + Background) / 5;

    /// <summary>Counts one clip.</summary>
    /// <param name="expected">Attributes of the prompt.</param>
    /// <param name="verdict">Result of the judge.</param>
    public void Add(SpriteAttributes expected, SpriteVerdict verdict)
    {
        Count++;
        size += verdict.Size == expected.Size ? 1 : 0;
        colour += verdict.Colour == expected.Colour ? 1 : 0;
        shape += verdict.Shape == expected.Shape ? 1 : 0;
        motion += verdict.Motion == expected.Motion ? 1 : 0;
        background += verdict.Background == expected.Background ? 1 : 0;
        all += verdict.Attributes == expected ? 1 : 0;
    }
}
