using System.Runtime.CompilerServices;

namespace PyramidFlow.Training.Sprites;

/// <summary>
/// The four outlines around the origin, x to the right and y down. The origin is every outline's centroid. A sprite of
/// radius R is a disc of radius R, a square of half-side 0.87 R, a triangle of circumradius 1.35 R or a star of outer
/// radius 1.35 R and inner radius 0.45 of the outer one.
/// </summary>
public static class SpriteGeometry
{
    private const float SquareHalfSide = 0.87f;
    private const float TriangleCircumradius = 1.35f;
    private const float StarOuter = 1.35f;
    private const float StarInner = 0.45f * StarOuter;
    private const float Cos18 = 0.95105652f, Sin36 = 0.58778525f, Cos36 = 0.80901699f;
    private const float Sin60 = 0.8660254f;

    /// <summary>How far an outline of radius 1 reaches from its centre; all four numbers are positive.</summary>
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

    /// <summary>
    /// Share of a pixel that the sprite covers, 0..1, from the distance of the pixel's centre to the outline.
    /// </summary>
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

        // The one edge left runs from the tip (0, outer) to the notch at 36 degrees.
        const float EdgeX = 0.45f * Sin36, EdgeY = 0.45f * Cos36 - 1;
        var length = MathF.Sqrt(EdgeX * EdgeX + EdgeY * EdgeY);
        var edge = (-EdgeY * x + EdgeX * (y - outer)) / length;
        return Math.Max(edge, y - outer);
    }
}
