namespace PyramidFlow.Training.Sprites;

/// <summary>A clip whose sprite moves one way and, from a frame on, another way at a right angle to it.</summary>
/// <param name="Start">The scene it begins as.</param>
/// <param name="Then">Where it moves later.</param>
public readonly record struct SpriteTurn(SpriteScene Start, SpriteMotion Then)
{
    /// <summary>Frame from which it moves the other way; a unit of the released models begins there.</summary>
    public const int Frame = 25;

    /// <summary>Frames of a clip.</summary>
    public const int Frames = 49;

    private const float Jitter = 6;
    private const long Stream = 502;

    /// <summary>What is to be seen before <see cref="Frame"/>.</summary>
    public SpriteAttributes Before => Start.Attributes;

    /// <summary>What is to be seen from <see cref="Frame"/> on.</summary>
    public SpriteAttributes After => Start.Attributes with { Motion = Then };

    /// <summary>A turn of an evaluation; the sprite starts in the corner that leaves way for both motions.</summary>
    /// <param name="seed">Seed of the evaluation.</param>
    /// <param name="index">Number of the clip, from 0.</param>
    public static SpriteTurn Of(long seed, long index)
    {
        var random = new SpriteRandom(seed, Stream, index);
        var motions = new[] { SpriteMotion.Left, SpriteMotion.Right, SpriteMotion.Up, SpriteMotion.Down };
        var first = motions[random.NextInt(motions.Length)];
        var isLevel = first is SpriteMotion.Left or SpriteMotion.Right;
        var then = isLevel ? motions[2 + random.NextInt(2)] : motions[random.NextInt(2)];
        var attributes = SpriteWorld.EvaluationScene(seed, index).Attributes with { Motion = first };
        var (left, top, right, bottom) = SpriteWorld.Room(attributes.Shape, SpriteWorld.Radius(attributes.Size));
        var goesRight = first == SpriteMotion.Right || then == SpriteMotion.Right;
        var goesDown = first == SpriteMotion.Down || then == SpriteMotion.Down;
        var (x, y) = (random.NextSingle() * Jitter, random.NextSingle() * Jitter);
        return new SpriteTurn(new SpriteScene(attributes, goesRight ? left + x : right - x, goesDown ? top + y : bottom - y), then);
    }

    /// <summary>Draws the whole clip as it should be: interleaved RGB, [49, 128, 128, 3].</summary>
    public byte[] Render()
    {
        var (x, y, _) = Start.At(Frame - 1);
        var later = SpriteRenderer.Render(new SpriteScene(After, x, y), 1 + Frames - Frame);
        return [.. SpriteRenderer.Render(Start, Frame), .. later.AsSpan(SpriteWorld.FrameBytes)];
    }
}
