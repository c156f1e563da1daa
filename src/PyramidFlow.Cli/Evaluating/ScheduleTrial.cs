using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Sprites;

namespace PyramidFlow.Cli.Evaluating;

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
