using System.Runtime.CompilerServices;
using PyramidFlow.Torch;

namespace PyramidFlow.Sprites;

/// <summary>Renders scenes with anti-aliasing by distance to the outline; computes only the bounding box of the sprite.</summary>
internal static class SpriteRenderer
{
    /// <summary>Renders the first frames of a scene.</summary>
    /// <param name="scene">The scene.</param>
    /// <param name="frameCount">Number of frames, at least 1; the models take 1 + 8n.</param>
    /// <returns>Interleaved RGB, [frames, 128, 128, 3].</returns>
    /// <exception cref="ArgumentOutOfRangeException">The frame count is less than 1.</exception>
    public static byte[] Render(SpriteScene scene, int frameCount)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(frameCount, 1);
        var clip = GC.AllocateUninitializedArray<byte>(checked(frameCount * SpriteWorld.FrameBytes));
        var first = clip.AsSpan(0, SpriteWorld.FrameBytes);
        FillBackground(scene, first);
        for (var t = 1; t < frameCount; t++)
            first.CopyTo(clip.AsSpan(t * SpriteWorld.FrameBytes));
        for (var t = 0; t < frameCount; t++)
            DrawSprite(scene, t, clip.AsSpan(t * SpriteWorld.FrameBytes, SpriteWorld.FrameBytes));
        return clip;
    }

    /// <summary>Renders one frame of a scene.</summary>
    /// <param name="scene">The scene.</param>
    /// <param name="frame">Frame number, from 0.</param>
    /// <param name="target">Receives interleaved RGB, [128, 128, 3].</param>
    /// <exception cref="ArgumentException">The target is not 49152 bytes.</exception>
    public static void RenderFrame(SpriteScene scene, int frame, Span<byte> target)
    {
        if (target.Length != SpriteWorld.FrameBytes)
        {
            throw new ArgumentException(
                $"a sprite frame takes {SpriteWorld.FrameBytes} bytes (128 x 128 x 3), the target has {target.Length}",
                nameof(target));
        }

        FillBackground(scene, target);
        DrawSprite(scene, frame, target);
    }

    private static void FillBackground(SpriteScene scene, Span<byte> frame)
    {
        var (r, g, b) = SpritePalette.Rgb(scene.Attributes.Background);
        (frame[0], frame[1], frame[2]) = (r, g, b);
        for (var filled = 3; filled < frame.Length; filled *= 2)
            frame[..Math.Min(filled, frame.Length - filled)].CopyTo(frame[filled..]);
    }

    private static void DrawSprite(SpriteScene scene, int frame, Span<byte> target)
    {
        var shape = scene.Attributes.Shape;
        var (r1, g1, b1) = SpritePalette.Rgb(scene.Attributes.Colour);
        var (r0, g0, b0) = SpritePalette.Rgb(scene.Attributes.Background);
        var (cx, cy, radius) = scene.At(frame);
        var (left, top, right, bottom) = SpriteGeometry.Extent(shape);
        var (x0, x1) = Pixels(cx - left * radius, cx + right * radius, SpriteWorld.Width);
        var (y0, y1) = Pixels(cy - top * radius, cy + bottom * radius, SpriteWorld.Height);
        for (var y = y0; y < y1; y++)
        {
            var row = target.Slice(y * SpriteWorld.Width * 3, SpriteWorld.Width * 3);
            for (var x = x0; x < x1; x++)
            {
                var a = SpriteGeometry.Coverage(shape, x + 0.5f - cx, y + 0.5f - cy, radius);
                if (a == 0)
                    continue;
                row[x * 3] = Blend(r0, r1, a);
                row[x * 3 + 1] = Blend(g0, g1, a);
                row[x * 3 + 2] = Blend(b0, b1, a);
            }
        }
    }

    private static (int First, int End) Pixels(float low, float high, int size) =>
        (Math.Max(0, (int)(low - 0.5f)), Math.Min(size, (int)(high + 1.5f)));

    private static byte Blend(byte under, byte over, float share) => (byte)(under + (over - under) * share + 0.5f);
}

/// <summary>Clips of the sprites world as tensors.</summary>
internal static class SpriteClips
{
    /// <summary>Renders a scene to [1, 3, t, 128, 128] in [-1, 1].</summary>
    /// <param name="scene">The scene.</param>
    /// <param name="frames">Number of frames, 1 + 8n for the VAE.</param>
    public static Tensor Render(SpriteScene scene, int frames)
    {
        using var scope = new TensorScope();
        return scope.Keep(RenderChannelsLast(scene, frames).Permute(0, 4, 1, 2, 3).Contiguous());
    }

    /// <summary>Renders a scene to [1, t, 128, 128, 3] in [-1, 1].</summary>
    public static Tensor RenderChannelsLast(SpriteScene scene, int frames) => ChannelsLast(SpriteRenderer.Render(scene, frames));

    /// <summary>Converts a rendered clip, RGB bytes [t, 128, 128, 3], to [1, t, 128, 128, 3] in [-1, 1].</summary>
    public static Tensor ChannelsLast(ReadOnlySpan<byte> rgb)
    {
        using var scope = new TensorScope();
        var bytes = Tensor.From(rgb, 1, rgb.Length / SpriteWorld.FrameBytes, SpriteWorld.Height, SpriteWorld.Width, 3);
        return scope.Keep((bytes.To(ElementType.Float32) * (2 / 255.0)) - 1);
    }
}

/// <summary>
/// The four outlines around the origin, x to the right and y down. The origin is every outline's centroid. A sprite of
/// radius R is a disc of radius R, a square of half-side 0.87 R, a triangle of circumradius 1.35 R or a star of outer
/// radius 1.35 R and inner radius 0.45 of the outer one.
/// </summary>
internal static class SpriteGeometry
{
    private const float SquareHalfSide = 0.87f;
    private const float TriangleCircumradius = 1.35f;
    private const float StarOuter = 1.35f;
    private const float StarInner = 0.45f * StarOuter;
    private const float Cos18 = 0.95105652f, Sin36 = 0.58778525f, Cos36 = 0.80901699f;
    private const float Sin60 = 0.8660254f;

    /// <summary>Extent of an outline of radius 1 from its centre; all four numbers are positive.</summary>
    /// <param name="shape">The shape.</param>
    /// <exception cref="ArgumentOutOfRangeException">Not one of the four shapes.</exception>
    public static (float Left, float Top, float Right, float Bottom) Extent(SpriteShape shape) => shape switch
    {
        SpriteShape.Circle => (1, 1, 1, 1),
        SpriteShape.Square => (SquareHalfSide, SquareHalfSide, SquareHalfSide, SquareHalfSide),
        SpriteShape.Triangle => (Sin60 * TriangleCircumradius, TriangleCircumradius, Sin60 * TriangleCircumradius,
            0.5f * TriangleCircumradius),
        SpriteShape.Star => (Cos18 * StarOuter, StarOuter, Cos18 * StarOuter, Cos36 * StarOuter),
        _ => throw new ArgumentOutOfRangeException(nameof(shape), shape, null),
    };

    /// <summary>Area of an outline of radius 1.</summary>
    /// <param name="shape">The shape.</param>
    /// <exception cref="ArgumentOutOfRangeException">Not one of the four shapes.</exception>
    public static float UnitArea(SpriteShape shape) => shape switch
    {
        SpriteShape.Circle => MathF.PI,
        SpriteShape.Square => 4 * SquareHalfSide * SquareHalfSide,
        SpriteShape.Triangle => 1.5f * Sin60 * TriangleCircumradius * TriangleCircumradius,
        SpriteShape.Star => 5 * StarOuter * StarInner * Sin36,
        _ => throw new ArgumentOutOfRangeException(nameof(shape), shape, null),
    };

    /// <summary>Share of a pixel that the sprite covers, 0..1, by the distance of the pixel's centre to the outline.</summary>
    /// <param name="shape">The shape.</param>
    /// <param name="x">Pixel centre minus sprite centre, pixels to the right.</param>
    /// <param name="y">Pixel centre minus sprite centre, pixels down.</param>
    /// <param name="radius">Radius of the sprite in pixels.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Coverage(SpriteShape shape, float x, float y, float radius) =>
        Math.Clamp(0.5f - SignedDistance(shape, x, y, radius), 0, 1);

    /// <summary>
    /// Distance to the outline in pixels, negative inside. Outside of the square, the triangle and the star it is the
    /// distance to the nearest edge's line, with the tips cut square, so that coverage ends within a pixel of
    /// <see cref="Extent"/>.
    /// </summary>
    /// <param name="shape">The shape.</param>
    /// <param name="x">Pixels right of the centre.</param>
    /// <param name="y">Pixels below the centre.</param>
    /// <param name="radius">Radius of the sprite in pixels.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float SignedDistance(SpriteShape shape, float x, float y, float radius)
    {
        x = Math.Abs(x);
        return shape switch
        {
            SpriteShape.Circle => MathF.Sqrt(x * x + y * y) - radius,
            SpriteShape.Square => Math.Max(x, Math.Abs(y)) - SquareHalfSide * radius,
            SpriteShape.Triangle => Triangle(x, y, TriangleCircumradius * radius),
            _ => Star(x, y, StarOuter * radius),
        };
    }

    private static float Triangle(float x, float y, float circumradius)
    {
        var edges = Math.Max(Sin60 * x - 0.5f * y, y) - 0.5f * circumradius;
        var tips = Math.Max(-y, Sin60 * x + 0.5f * y) - circumradius;
        return Math.Max(edges, tips);
    }

    private static float Star(float x, float y, float outer)
    {
        // Fold the plane into the sector between one point's axis (y up) and its neighbouring notch, 36 degrees wide.
        y = -y;
        var overSide = Math.Max(0, Cos36 * x - Sin36 * y);
        x = Math.Abs(x - 2 * Cos36 * overSide);
        y += 2 * Sin36 * overSide;
        var overNotch = Math.Max(0, Cos36 * x - Sin36 * y);
        x = Math.Abs(x - 2 * Cos36 * overNotch);
        y += 2 * Sin36 * overNotch;

        // The remaining edge runs from the tip (0, outer) to the notch at 36 degrees.
        const float EdgeX = 0.45f * Sin36, EdgeY = 0.45f * Cos36 - 1;
        var length = MathF.Sqrt(EdgeX * EdgeX + EdgeY * EdgeY);
        var edge = (-EdgeY * x + EdgeX * (y - outer)) / length;
        return Math.Max(edge, y - outer);
    }
}
