using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Sprites;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Cli.Commands;

/// <summary>A kind of clip to request and judge.</summary>
internal interface ISpriteTrial
{
    /// <summary>What to make.</summary>
    /// <param name="index">Number of the clip, from 0.</param>
    GenerationOptions Request(int index);

    /// <summary>Judges a clip.</summary>
    /// <param name="index">Its number.</param>
    /// <param name="clip">Interleaved RGB, frame after frame, of the request's size.</param>
    void Judge(int index, byte[] clip);

    /// <summary>Shares of clips that were right, 0 to 1; the most important one last.</summary>
    IReadOnlyList<(string Name, double Share)> Shares { get; }

    /// <summary>Other figures, with their units in words.</summary>
    IReadOnlyList<(string Name, string Words, double Value)> Figures { get; }
}

/// <summary>The scenes of an evaluation.</summary>
/// <param name="Seed">Which scenes and noise.</param>
/// <param name="Colour">Colour of all sprites; null keeps their own.</param>
internal sealed record SpriteScenes(long Seed, SpriteColour? Colour = null)
{
    /// <summary>A scene by its number, from 0.</summary>
    public SpriteScene Scene(int index) => Painted(SpriteWorld.EvaluationScene(Seed, index));

    /// <summary>A scene whose sprite turns.</summary>
    public SpriteTurn Turn(int index)
    {
        var turn = SpriteTurn.Evaluation(Seed, index);
        return turn with { Start = Painted(turn.Start) };
    }

    private SpriteScene Painted(SpriteScene scene) =>
        Colour is { } colour ? scene with { Attributes = scene.Attributes with { Colour = colour } } : scene;
}

/// <summary>Videos from unseen prompts: everything the prompt says must be there.</summary>
/// <param name="scenes">Which prompts and noise.</param>
/// <param name="settings">The checkpoint's size and length.</param>
internal sealed class VideoTrial(SpriteScenes scenes, PipelineSettings settings) : ISpriteTrial
{
    private const long CaptionStream = 500, NoiseStream = 501;

    private readonly SpriteAccuracy accuracy = new();

    public IReadOnlyList<(string Name, double Share)> Shares =>
    [
        ("colour", accuracy.Colour), ("shape", accuracy.Shape), ("size", accuracy.Size), ("motion", accuracy.Motion),
        ("background", accuracy.Background), ("all", accuracy.All),
    ];

    public IReadOnlyList<(string Name, string Words, double Value)> Figures => [];

    /// <summary>Mean share of the attributes that are right, 0 to 1.</summary>
    public double Mean => accuracy.Mean;

    public GenerationOptions Request(int index) => new()
    {
        Prompt = SpriteCaptions.Caption(Attributes(index), new KeyedRandom(scenes.Seed, CaptionStream, index)),
        Seed = Noise(scenes.Seed, index),
    };

    public void Judge(int index, byte[] clip) => accuracy.Add(Attributes(index),
        SpriteJudge.Judge(clip, clip.Length / (settings.Width * settings.Height * 3), settings.Width, settings.Height));

    /// <summary>Seed of a clip's noise.</summary>
    internal static ulong Noise(long seed, int index) => new KeyedRandom(seed, NoiseStream, index).NextUInt64();

    private SpriteAttributes Attributes(int index) => scenes.Scene(index).Attributes;
}

/// <summary>
/// The first 25 frames of a drawn clip are given and 24 more are made: the new ones must keep colour and shape. Motion is that of
/// the whole clip, since a sprite may have reached the edge by then.
/// </summary>
/// <param name="scenes">Which scenes and noise.</param>
internal sealed class ExtensionTrial(SpriteScenes scenes) : ISpriteTrial
{
    private const int Given = 25, New = 24;

    private readonly SpriteAccuracy whole = new(), made = new();
    private int kept;
    private double joint, drawnJoint;

    public IReadOnlyList<(string Name, double Share)> Shares =>
    [
        ("motion", whole.Motion), ("background", made.Background), ("size", made.Size), ("colour", made.Colour), ("shape", made.Shape),
        ("kept", (double)kept / made.Count),
    ];

    public IReadOnlyList<(string Name, string Words, double Value)> Figures =>
    [
        ("joint", "mean change of a pixel at the joint, of 255", joint / made.Count),
        ("joint_drawn", "the same in the drawn clip", drawnJoint / made.Count),
    ];

    public GenerationOptions Request(int index)
    {
        var scene = scenes.Scene(index);
        return new GenerationOptions
        {
            Prompt = SpriteCaptions.Canonical(scene.Attributes),
            Video = SpriteRenderer.Render(scene, Given),
            Width = SpriteWorld.Width,
            Height = SpriteWorld.Height,
            Frames = New,
            Seed = VideoTrial.Noise(scenes.Seed, index),
        };
    }

    public void Judge(int index, byte[] clip)
    {
        var scene = scenes.Scene(index);
        var verdict = SpriteJudge.Judge(clip.AsSpan(Given * SpriteWorld.FrameBytes), New, SpriteWorld.Width, SpriteWorld.Height);
        whole.Add(scene.Attributes, SpriteJudge.Judge(clip, Given + New, SpriteWorld.Width, SpriteWorld.Height));
        made.Add(scene.Attributes, verdict);
        kept += (verdict.Colour, verdict.Shape) == (scene.Attributes.Colour, scene.Attributes.Shape) ? 1 : 0;
        joint += Joint(clip);
        drawnJoint += Joint(SpriteRenderer.Render(scene, Given + 1));
    }

    private static double Joint(byte[] clip)
    {
        var after = Given * SpriteWorld.FrameBytes;
        var sum = 0L;
        for (var i = after; i < after + SpriteWorld.FrameBytes; i++)
            sum += Math.Abs(clip[i] - clip[i - SpriteWorld.FrameBytes]);
        return (double)sum / SpriteWorld.FrameBytes;
    }
}

/// <summary>
/// A sprite is to move one way and, from frame 25 on, another way at a right angle, as a second prompt says. The first frame is
/// given: a start that leaves way for both. It has turned when both parts show their own motion.
/// </summary>
/// <param name="scenes">Which scenes and noise.</param>
/// <param name="settings">The checkpoint's frames a second.</param>
internal sealed class ScheduleTrial(SpriteScenes scenes, PipelineSettings settings) : ISpriteTrial
{
    private const int Frames = 49;

    private readonly SpriteAccuracy before = new(), after = new();
    private int turned;

    public IReadOnlyList<(string Name, double Share)> Shares =>
    [
        ("colour", after.Colour), ("shape", after.Shape), ("motion_before", before.Motion), ("motion_after", after.Motion),
        ("turned", (double)turned / after.Count),
    ];

    public IReadOnlyList<(string Name, string Words, double Value)> Figures => [];

    public GenerationOptions Request(int index)
    {
        var turn = scenes.Turn(index);
        return new GenerationOptions
        {
            Prompt = SpriteCaptions.Canonical(turn.Before),
            Schedule = [new PromptChange(turn.Frame / settings.FramesPerSecond, SpriteCaptions.Canonical(turn.After))],
            Image = SpriteRenderer.Render(turn.Start, 1),
            Width = SpriteWorld.Width,
            Height = SpriteWorld.Height,
            Frames = Frames,
            Seed = VideoTrial.Noise(scenes.Seed, index),
        };
    }

    public void Judge(int index, byte[] clip)
    {
        var turn = scenes.Turn(index);
        var at = turn.Frame * SpriteWorld.FrameBytes;
        var first = SpriteJudge.Judge(clip.AsSpan(0, at), turn.Frame, SpriteWorld.Width, SpriteWorld.Height);
        var second = SpriteJudge.Judge(clip.AsSpan(at), Frames - turn.Frame, SpriteWorld.Width, SpriteWorld.Height);
        before.Add(turn.Before, first);
        after.Add(turn.After, second);
        turned += (first.Motion, second.Motion) == (turn.Before.Motion, turn.Then) ? 1 : 0;
    }
}

/// <summary>
/// Clips of 16 units whose sprite rests, so that it never leaves the frame: what single units show tells how errors pile up. A unit is right when its 8 frames show everything that the prompt
/// says.
/// </summary>
/// <param name="scenes">Which prompts and noise.</param>
/// <param name="settings">The checkpoint's size.</param>
internal sealed class LongTrial(SpriteScenes scenes, PipelineSettings settings) : ISpriteTrial
{
    private static readonly int[] Units = [2, 4, 8, 16];

    private readonly SpriteAccuracy[] accuracies = [.. Units.Select(_ => new SpriteAccuracy())];

    public IReadOnlyList<(string Name, double Share)> Shares => [.. Units.Zip(accuracies, (unit, accuracy) => ($"unit_{unit}", accuracy.All))];

    public IReadOnlyList<(string Name, string Words, double Value)> Figures => [];

    public GenerationOptions Request(int index) => new()
    {
        Prompt = SpriteCaptions.Canonical(Attributes(index)),
        Frames = VideoLength.OfLatents(Units[^1]),
        Seed = VideoTrial.Noise(scenes.Seed, index),
    };

    public void Judge(int index, byte[] clip)
    {
        var frame = settings.Width * settings.Height * 3;
        foreach (var (unit, accuracy) in Units.Zip(accuracies))
        {
            var (start, end) = (VideoLength.OfLatents(unit - 1), VideoLength.OfLatents(unit));
            accuracy.Add(Attributes(index), SpriteJudge.Judge(clip.AsSpan(start * frame, (end - start) * frame), end - start, settings.Width, settings.Height));
        }
    }

    private SpriteAttributes Attributes(int index) => scenes.Scene(index).Attributes with { Motion = SpriteMotion.Still };
}
