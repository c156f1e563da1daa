using PyramidFlow.Generation;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Sprites;

/// <summary>
/// The procedural world of the default model: one coloured sprite on a plain background, 128x128 pixels, 24 frames per second. Scenes are a
/// function of a seed and an index, so that a single integer defines a data set of any size.
/// </summary>
internal static class SpriteWorld
{
    /// <summary>Width of a frame in pixels.</summary>
    public const int Width = 128;

    /// <summary>Height of a frame in pixels.</summary>
    public const int Height = 128;

    /// <summary>Bytes of one frame: interleaved RGB.</summary>
    public const int FrameBytes = Width * Height * 3;

    /// <summary>Frames per second.</summary>
    public const int FramesPerSecond = 24;

    /// <summary>Speed of a moving sprite in pixels per frame.</summary>
    public const float PixelsPerFrame = 2.2f;

    /// <summary>Number of frames in which a sprite doubles or halves its radius.</summary>
    public const int ScalingFrames = 32;

    /// <summary>Shortest distance in pixels that a moving sprite travels before it reaches the edge.</summary>
    public const float LeastWay = 30;

    private const float Margin = 1.5f;
    private const float StartJitter = 14;
    private const float FarStartShare = 0.75f;
    private const long TrainingStream = 1, EvaluationStream = 2, EvaluationOrderStream = 3;

    /// <summary>Radius of a size in pixels.</summary>
    /// <param name="size">The size.</param>
    public static float Radius(SpriteSize size) => size == SpriteSize.Small ? 18 : 30;

    /// <summary>Radius in a frame relative to the full radius, 0.5..1.</summary>
    /// <param name="motion">Motion of the sprite.</param>
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

    /// <summary>Whether a combination is held out of training: every large cyan star.</summary>
    /// <param name="attributes">The attributes.</param>
    public static bool IsHeldOut(SpriteAttributes attributes) =>
        attributes is { Size: SpriteSize.Large, Colour: SpriteColour.Cyan, Shape: SpriteShape.Star };

    /// <summary>A training scene; attributes are uniform over all combinations that are not held out.</summary>
    /// <param name="seed">Seed of the data set.</param>
    /// <param name="index">Index of the scene.</param>
    public static SpriteScene Scene(long seed, long index)
    {
        var random = new KeyedRandom(seed, TrainingStream, index);
        SpriteAttributes attributes;
        do
            attributes = SpriteAttributes.FromNumber(random.NextInt(SpriteAttributes.Combinations));
        while (IsHeldOut(attributes));
        return Place(attributes, random);
    }

    /// <summary>
    /// An evaluation scene, from a random stream that training does not use. Each block of 2688 indices has every combination once, including
    /// held-out ones, in shuffled order.
    /// </summary>
    /// <param name="seed">Seed of the evaluation.</param>
    /// <param name="index">Index of the scene, from 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">The index is negative.</exception>
    public static SpriteScene EvaluationScene(long seed, long index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        var (round, place) = Math.DivRem(index, SpriteAttributes.Combinations);
        var number = Shuffled(new KeyedRandom(seed, EvaluationOrderStream, round), (int)place);
        return Place(SpriteAttributes.FromNumber(number), new KeyedRandom(seed, EvaluationStream, index));
    }

    /// <summary>
    /// A scene with given attributes. A moving sprite starts near the opposite edge with probability 3/4, otherwise anywhere at least
    /// <see cref="LeastWay"/> from its end; everything else is uniform.
    /// </summary>
    /// <param name="attributes">Attributes of the scene.</param>
    /// <param name="random">Random numbers of the start position.</param>
    public static SpriteScene Place(SpriteAttributes attributes, KeyedRandom random)
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

    /// <summary>Range of the centre that keeps the whole sprite inside the frame, with a margin.</summary>
    internal static (float Left, float Top, float Right, float Bottom) Room(SpriteShape shape, float radius)
    {
        var (left, top, right, bottom) = SpriteGeometry.Extent(shape);
        return (Margin + left * radius, Margin + top * radius, Width - Margin - right * radius,
            Height - Margin - bottom * radius);
    }

    private static int Shuffled(KeyedRandom random, int place)
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

/// <summary>A clip before rendering: its attributes and the start position.</summary>
/// <param name="Attributes">Attributes of the scene.</param>
/// <param name="StartX">Centre of the sprite in frame 0, pixels from the left edge.</param>
/// <param name="StartY">Centre of the sprite in frame 0, pixels from the top edge.</param>
internal readonly record struct SpriteScene(SpriteAttributes Attributes, float StartX, float StartY)
{
    /// <summary>Position and radius of the sprite in a frame. Movement ends at the edge of the frame, scaling after 32 frames.</summary>
    /// <param name="frame">Frame number, from 0, without limit.</param>
    /// <returns>Centre and radius in pixels.</returns>
    /// <exception cref="ArgumentOutOfRangeException">The frame is negative.</exception>
    public (float X, float Y, float Radius) At(int frame)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(frame);
        var full = SpriteWorld.Radius(Attributes.Size);
        var radius = full * SpriteWorld.Scale(Attributes.Motion, frame);
        var (left, top, right, bottom) = SpriteWorld.Room(Attributes.Shape, full);
        var way = SpriteWorld.PixelsPerFrame * frame;
        return Attributes.Motion switch
        {
            SpriteMotion.Left => (Math.Max(left, StartX - way), StartY, radius),
            SpriteMotion.Right => (Math.Min(right, StartX + way), StartY, radius),
            SpriteMotion.Up => (StartX, Math.Max(top, StartY - way), radius),
            SpriteMotion.Down => (StartX, Math.Min(bottom, StartY + way), radius),
            _ => (StartX, StartY, radius),
        };
    }
}

/// <summary>A clip whose sprite turns by a right angle at a frame.</summary>
/// <param name="Start">The scene before the turn.</param>
/// <param name="Then">Motion after the turn.</param>
/// <param name="Frame">First frame after the turn; the start of a unit of the released models.</param>
internal readonly record struct SpriteTurn(SpriteScene Start, SpriteMotion Then, int Frame)
{
    private const float Jitter = 6;
    private const long EvaluationStream = 502, TrainingStream = 503;
    private const int EvaluationFrame = 25, EarliestUnit = 2, LatestUnit = 4;

    private static readonly SpriteMotion[] Ways = [SpriteMotion.Left, SpriteMotion.Right, SpriteMotion.Up, SpriteMotion.Down];

    /// <summary>Attributes before <see cref="Frame"/>.</summary>
    public SpriteAttributes Before => Start.Attributes;

    /// <summary>Attributes from <see cref="Frame"/> on.</summary>
    public SpriteAttributes After => Start.Attributes with { Motion = Then };

    /// <summary>A turn for evaluation, at frame 25; the sprite starts in the corner that leaves room for both motions.</summary>
    /// <param name="seed">Seed of the evaluation.</param>
    /// <param name="index">Index of the clip, from 0.</param>
    public static SpriteTurn Evaluation(long seed, long index) =>
        Create(SpriteWorld.EvaluationScene(seed, index).Attributes, EvaluationFrame, new KeyedRandom(seed, EvaluationStream, index));

    /// <summary>The turn of a training clip, at the start of its second to fourth unit; null for a clip without a turn.</summary>
    /// <param name="seed">Seed of the data set.</param>
    /// <param name="index">Index of the clip.</param>
    /// <param name="share">Share of the clips that turn, 0..1.</param>
    public static SpriteTurn? Training(long seed, long index, double share)
    {
        var random = new KeyedRandom(seed, TrainingStream, index);
        if (random.NextSingle() >= share)
            return null;
        var frame = VideoLength.OfLatents(EarliestUnit + random.NextInt(LatestUnit - EarliestUnit + 1));
        return Create(SpriteWorld.Scene(seed, index).Attributes, frame, random);
    }

    /// <summary>Renders the clip: interleaved RGB, [frames, 128, 128, 3].</summary>
    /// <param name="frames">Number of frames, more than <see cref="Frame"/>.</param>
    public byte[] Render(int frames)
    {
        var (x, y, _) = Start.At(Frame - 1);
        var later = SpriteRenderer.Render(new SpriteScene(After, x, y), 1 + frames - Frame);
        return [.. SpriteRenderer.Render(Start, Frame), .. later.AsSpan(SpriteWorld.FrameBytes)];
    }

    private static SpriteTurn Create(SpriteAttributes attributes, int frame, KeyedRandom random)
    {
        var first = Ways[random.NextInt(Ways.Length)];
        var isLevel = first is SpriteMotion.Left or SpriteMotion.Right;
        var then = isLevel ? Ways[2 + random.NextInt(2)] : Ways[random.NextInt(2)];
        attributes = attributes with { Motion = first };
        var (left, top, right, bottom) = SpriteWorld.Room(attributes.Shape, SpriteWorld.Radius(attributes.Size));
        var goesRight = first == SpriteMotion.Right || then == SpriteMotion.Right;
        var goesDown = first == SpriteMotion.Down || then == SpriteMotion.Down;
        var (x, y) = (random.NextSingle() * Jitter, random.NextSingle() * Jitter);
        return new SpriteTurn(new SpriteScene(attributes, goesRight ? left + x : right - x, goesDown ? top + y : bottom - y), then, frame);
    }
}

/// <summary>Paints a share of the scenes of a data set in one colour, such as one that scenes do not use.</summary>
/// <param name="Colour">The colour.</param>
/// <param name="Share">Share of the scenes, 0..1.</param>
internal readonly record struct SpriteExtraColour(SpriteColour Colour, double Share)
{
    private const long Stream = 504;

    /// <summary>Returns the scene, unchanged or painted.</summary>
    /// <param name="scene">The scene.</param>
    /// <param name="seed">Seed of the data set.</param>
    /// <param name="index">Index of the scene.</param>
    public SpriteScene Paint(SpriteScene scene, long seed, long index) => new KeyedRandom(seed, Stream, index).NextSingle() < Share
        ? scene with { Attributes = scene.Attributes with { Colour = Colour } }
        : scene;
}
