using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Sprites;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Cli.Evaluating;

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
