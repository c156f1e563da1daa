using PyramidFlow.Generation;
using PyramidFlow.Sprites;

namespace PyramidFlow.Cli.Evaluating;

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
