using PyramidFlow.Generation;

namespace PyramidFlow.Training.Sprites;

/// <summary>A clip whose sprite moves one way and, from a frame on, another way at a right angle to it.</summary>
/// <param name="Start">The scene it begins as.</param>
/// <param name="Then">Where it moves later.</param>
/// <param name="Frame">Frame from which it moves the other way; a unit of the released models begins there.</param>
public readonly record struct SpriteTurn(SpriteScene Start, SpriteMotion Then, int Frame)
{
    private const float Jitter = 6;
    private const long EvaluationStream = 502, TrainingStream = 503;
    private const int EvaluationFrame = 25, EarliestUnit = 2, LatestUnit = 4;

    private static readonly SpriteMotion[] Ways = [SpriteMotion.Left, SpriteMotion.Right, SpriteMotion.Up, SpriteMotion.Down];

    /// <summary>What is to be seen before <see cref="Frame"/>.</summary>
    public SpriteAttributes Before => Start.Attributes;

    /// <summary>What is to be seen from <see cref="Frame"/> on.</summary>
    public SpriteAttributes After => Start.Attributes with { Motion = Then };

    /// <summary>A turn of an evaluation, at frame 25; the sprite starts in the corner that leaves way for both motions.</summary>
    /// <param name="seed">Seed of the evaluation.</param>
    /// <param name="index">Number of the clip, from 0.</param>
    public static SpriteTurn Of(long seed, long index) =>
        Of(SpriteWorld.EvaluationScene(seed, index).Attributes, EvaluationFrame, new SpriteRandom(seed, EvaluationStream, index));

    /// <summary>The turn of a training clip, at the beginning of its second to fourth unit; null for a clip without one.</summary>
    /// <param name="seed">Seed of the data set.</param>
    /// <param name="index">Number of the clip.</param>
    /// <param name="share">Share of the clips that turn, 0..1.</param>
    public static SpriteTurn? Training(long seed, long index, double share)
    {
        var random = new SpriteRandom(seed, TrainingStream, index);
        if (random.NextSingle() >= share)
            return null;
        var frame = VideoLength.OfLatents(EarliestUnit + random.NextInt(LatestUnit - EarliestUnit + 1));
        return Of(SpriteWorld.Scene(seed, index).Attributes, frame, random);
    }

    /// <summary>Draws the clip as it should be: interleaved RGB, [frames, 128, 128, 3].</summary>
    /// <param name="frames">Number of frames, more than <see cref="Frame"/>.</param>
    public byte[] Render(int frames)
    {
        var (x, y, _) = Start.At(Frame - 1);
        var later = SpriteRenderer.Render(new SpriteScene(After, x, y), 1 + frames - Frame);
        return [.. SpriteRenderer.Render(Start, Frame), .. later.AsSpan(SpriteWorld.FrameBytes)];
    }

    private static SpriteTurn Of(SpriteAttributes attributes, int frame, SpriteRandom random)
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
