namespace PyramidFlow.Training.Sprites;

/// <summary>
/// The procedural world of the embedded default model: one coloured sprite on a plain background, 128x128 pixels, 24
/// frames per second. Scenes come from a seed and an index, so that a data set of any size is one integer.
/// </summary>
public static class SpriteWorld
{
    /// <summary>Width of a frame in pixels.</summary>
    public const int Width = 128;

    /// <summary>Height of a frame in pixels.</summary>
    public const int Height = 128;

    /// <summary>Bytes of one frame: interleaved RGB.</summary>
    public const int FrameBytes = Width * Height * 3;

    /// <summary>Frames per second.</summary>
    public const int FramesPerSecond = 24;

    /// <summary>Speed of a moving sprite.</summary>
    public const float PixelsPerFrame = 2.2f;

    /// <summary>Frames in which a sprite doubles or halves its radius.</summary>
    public const int ScalingFrames = 32;

    /// <summary>Least way in pixels that a moving sprite has before it reaches the edge.</summary>
    public const float LeastWay = 30;

    private const float Margin = 1.5f;
    private const float StartJitter = 14;
    private const float FarStartShare = 0.75f;
    private const long TrainingStream = 1, EvaluationStream = 2, EvaluationOrderStream = 3;

    /// <summary>The radius in pixels that a size stands for.</summary>
    /// <param name="size">The size.</param>
    public static float Radius(SpriteSize size) => size == SpriteSize.Small ? 18 : 30;

    /// <summary>Radius in a frame as a share of the whole radius, 0.5..1.</summary>
    /// <param name="motion">What the sprite does.</param>
    /// <param name="frame">Frame number, from 0.</param>
    public static float Scale(SpriteMotion motion, int frame)
    {
        var done = 0.5f * Math.Min(frame, ScalingFrames) / ScalingFrames;
        return motion switch
        {
            SpriteMotion.Growing => 0.5f + done,
            SpriteMotion.Shrinking => 1 - done,
            _ => 1,
        };
    }

    /// <summary>True for the combination that training never shows: every large cyan star.</summary>
    /// <param name="attributes">The attributes.</param>
    public static bool IsHeldOut(SpriteAttributes attributes) =>
        attributes is { Size: SpriteSize.Large, Colour: SpriteColour.Cyan, Shape: SpriteShape.Star };

    /// <summary>A training scene: attributes uniform over everything that is not held out.</summary>
    /// <param name="seed">Seed of the data set.</param>
    /// <param name="index">Number of the scene.</param>
    public static SpriteScene Scene(long seed, long index)
    {
        var random = new SpriteRandom(seed, TrainingStream, index);
        SpriteAttributes attributes;
        do
            attributes = SpriteAttributes.FromNumber(random.NextInt(SpriteAttributes.Combinations));
        while (IsHeldOut(attributes));
        return Place(attributes, random);
    }

    /// <summary>
    /// An evaluation scene, from numbers that training never uses. Each run of 2688 indices that starts at a multiple
    /// of 2688 has every combination once, held-out ones among them, in shuffled order.
    /// </summary>
    /// <param name="seed">Seed of the evaluation.</param>
    /// <param name="index">Number of the scene, from 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">The index is negative.</exception>
    public static SpriteScene EvaluationScene(long seed, long index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        var (round, place) = Math.DivRem(index, SpriteAttributes.Combinations);
        var number = Shuffled(new SpriteRandom(seed, EvaluationOrderStream, round), (int)place);
        return Place(SpriteAttributes.FromNumber(number), new SpriteRandom(seed, EvaluationStream, index));
    }

    /// <summary>
    /// A scene with given attributes: a moving sprite starts near the opposite edge in three scenes of four, else
    /// anywhere that leaves <see cref="LeastWay"/>; everything else is uniform over what fits.
    /// </summary>
    /// <param name="attributes">What is to be seen.</param>
    /// <param name="random">Source of the start.</param>
    public static SpriteScene Place(SpriteAttributes attributes, SpriteRandom random)
    {
        var (left, top, right, bottom) = Room(attributes.Shape, Radius(attributes.Size));
        var x = random.NextSingle(left, right);
        var y = random.NextSingle(top, bottom);
        var far = random.NextSingle() < FarStartShare;
        var share = random.NextSingle();
        float Start(float from, float to)
        {
            var longest = far ? StartJitter : Math.Abs(to - from) - LeastWay;
            return from + Math.Sign(to - from) * share * longest;
        }

        return attributes.Motion switch
        {
            SpriteMotion.Left => new(attributes, Start(right, left), y),
            SpriteMotion.Right => new(attributes, Start(left, right), y),
            SpriteMotion.Up => new(attributes, x, Start(bottom, top)),
            SpriteMotion.Down => new(attributes, x, Start(top, bottom)),
            _ => new(attributes, x, y),
        };
    }

    /// <summary>
    /// Where the centre of a sprite may be so that the whole sprite stays in the frame, off its edge.
    /// </summary>
    internal static (float Left, float Top, float Right, float Bottom) Room(SpriteShape shape, float radius)
    {
        var (left, top, right, bottom) = SpriteGeometry.Extent(shape);
        return (Margin + left * radius, Margin + top * radius, Width - Margin - right * radius,
            Height - Margin - bottom * radius);
    }

    private static int Shuffled(SpriteRandom random, int place)
    {
        var order = new int[SpriteAttributes.Combinations];
        for (var i = 0; i < order.Length; i++)
        {
            var j = random.NextInt(i + 1);
            order[i] = order[j];
            order[j] = i;
        }

        return order[place];
    }
}
