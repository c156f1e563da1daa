using PyramidFlow.Models;

namespace PyramidFlow.Generation;

/// <summary>Shape and steps of a clip to sample.</summary>
/// <param name="Height">Rows of the latents; divisible by 2^stages.</param>
/// <param name="Width">Columns of the latents, likewise.</param>
/// <param name="FramesPerUnit">Latent frames of a unit after the first.</param>
/// <param name="Steps">Steps in each stage for the first unit, lowest resolution first.</param>
/// <param name="VideoSteps">The same for the later units.</param>
/// <param name="Guidance">Guidance scale of each unit; null is off, so that only the prompt runs.</param>
public sealed record SamplingPlan(int Height, int Width, int FramesPerUnit, IReadOnlyList<int> Steps, IReadOnlyList<int> VideoSteps,
    IReadOnlyList<double?> Guidance)
{
    /// <summary>Latent frames of the first unit: 1, or as many as are given to go on from.</summary>
    public int First { get; init; } = 1;

    /// <summary>Most latent frames of history that condition a unit; null is all.</summary>
    public int? Window { get; init; }

    /// <summary>Approximations that save work.</summary>
    public Approximations Approximations { get; init; } = Approximations.None;

    /// <summary>The options with every default filled in, for settings that the sampler reads and that have no place above.</summary>
    public GenerationOptions Options { get; init; } = new();

    /// <summary>Number of units.</summary>
    public int Units => Guidance.Count;

    /// <summary>Number of stages.</summary>
    public int Stages => Steps.Count;

    /// <summary>Latent frames of the whole clip.</summary>
    public int Frames => First + ((Units - 1) * FramesPerUnit);

    /// <summary>Latent frames of a unit.</summary>
    public int FramesOf(int unit) => unit == 0 ? First : FramesPerUnit;

    /// <summary>Latent frames that condition a unit.</summary>
    public int HistoryOf(int unit) => unit == 0 ? 0 : Math.Min(First + ((unit - 1) * FramesPerUnit), Window ?? int.MaxValue);

    /// <summary>Steps of each stage of a unit.</summary>
    public IReadOnlyList<int> StepsOf(int unit) => unit == 0 ? Steps : VideoSteps;

    /// <summary>Evaluations of the transformer in a stage of a unit.</summary>
    public int EvaluationsOf(int unit, int stage) => Approximations.Solver.Evaluations(StepsOf(unit)[stage]);

    /// <summary>Timesteps in a stage of a unit for which a prefix is computed, of the evaluations with guidance or of those without.</summary>
    internal int PrefixesOf(int unit, int stage, bool isGuided)
    {
        var evaluations = EvaluationsOf(unit, stage);
        var guided = Guidance[unit] is null ? 0 : Approximations.GuidedEvaluations(evaluations);
        return Approximations.Prefixes(isGuided ? guided : evaluations - guided);
    }

    /// <summary>Tokens of a unit at a stage.</summary>
    public ClipSize SizeOf(int unit, int stage) => Size(FramesOf(unit), stage);

    /// <summary>Tokens of history and unit together: the cost of an exact evaluation.</summary>
    public long Tokens(int unit, int stage)
    {
        var history = LatentPyramid.HistoryRanges(HistoryOf(unit), stage, FramesPerUnit);
        return SizeOf(unit, stage).Tokens + history.Sum(clip => Size(clip.Count, clip.Level).Tokens);
    }

    /// <summary>
    /// Cost of an evaluation in tokens: <see cref="Tokens"/>, less what is approximated and what a history cache holds (as if it held all that it can). Evaluations that
    /// share a history share its tokens, and where the others are guided an evaluation without guidance counts half.
    /// </summary>
    public double Work(int unit, int stage, int evaluation)
    {
        var own = SizeOf(unit, stage).Tokens;
        var held = HistoryPlan.HeldFrames(this, unit, stage, isNewText: false) * HistoryPlan.FrameTokens(this);
        var history = (double)(Tokens(unit, stage) - own - held) / Approximations.ReusePrefix;
        return (own + history) * (Guidance[unit] is null || Approximations.IsGuided(evaluation) ? 1 : 0.5);
    }

    private ClipSize Size(long frames, int stage)
    {
        var scale = Patches.Size << (Stages - 1 - stage);
        return new ClipSize(frames, Height / scale, Width / scale);
    }
}

/// <summary>A request with every value filled in and checked; the result of <see cref="GenerationOptions.Resolve"/>.</summary>
/// <param name="Prompts">The prompts, with suffixes, by their first unit; units ascend, and the first prompt holds from the first unit that is made.</param>
/// <param name="NegativePrompt">The negative prompt of guidance; may be empty.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Frames">Frames of the result, including given ones unless only new ones are wanted.</param>
/// <param name="Seed">Seed of all draws.</param>
/// <param name="Sampling">Shape and steps of the latents.</param>
public sealed record GenerationSettings(
    IReadOnlyList<UnitPrompt> Prompts,
    string NegativePrompt,
    int Width,
    int Height,
    int Frames,
    ulong Seed,
    SamplingPlan Sampling)
{
    /// <summary>The prompt the clip begins with, with its suffix.</summary>
    public string Prompt => Prompts[0].Prompt;

    /// <summary>The options with the defaults of the checkpoint filled in; savings and history stay null where they were not asked for; <see cref="GenerationOptions.Frames"/> counts the frames to be made.</summary>
    public GenerationOptions Options => Sampling.Options with { Seed = Seed };

    /// <summary>What the clip begins with; null samples all of it.</summary>
    public ConditioningInput? Conditioning { get; init; }

    /// <summary>Pixels of a picture or video in <see cref="Conditioning"/>, interleaved RGB bytes; null until they are read.</summary>
    public ReadOnlyMemory<byte>? Pixels { get; init; }

    /// <summary>Number of last frames of a given video that condition later frames; 1 + a multiple of 8.</summary>
    public int HistoryFrames { get; init; }

    /// <summary>Latents to continue.</summary>
    public LatentClip? Latents { get; init; }

    /// <summary>Whether the result leaves out the given frames.</summary>
    public bool NewFramesOnly { get; init; }

    /// <summary>Whether latents of given pictures are sampled from the posterior instead of its mean.</summary>
    public bool SampleImage { get; init; }

    /// <summary>Warnings that follow from the request alone, such as that the model was trained on other sizes.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>Whether the first unit is given (a picture, frames or latents) and not sampled.</summary>
    public bool IsConditioned => Conditioning is not null;

    /// <summary>Whether the clip continues given frames or latents, so that its length counts the new frames.</summary>
    public bool IsContinuation => Conditioning is { IsContinued: true };

    /// <summary>Whether any unit to be sampled is guided, so that the negative prompt counts.</summary>
    public bool IsGuided => Sampling.Guidance.Skip(IsConditioned ? 1 : 0).Any(scale => scale is not null);

    /// <summary>Latent frames that come before those to be made, including those outside the history window.</summary>
    internal int GivenLatentFrames => VideoLength.Latents(VideoLength.Fitting(Conditioning!.Frames));

    /// <summary>Bytes of a frame.</summary>
    internal int FrameBytes => 3 * Width * Height;

    /// <summary>Pixels of the video that is continued; null where none is.</summary>
    internal ReadOnlyMemory<byte>? Video => Conditioning?.Kind == ConditioningKind.Video ? Pixels : null;

    /// <summary>The clip with the pixels of its picture or video.</summary>
    /// <param name="rgb">Interleaved RGB bytes, frame after frame.</param>
    /// <exception cref="RequestException">No pixels are missing, or they are not as many as the settings say.</exception>
    internal GenerationSettings WithPixels(ReadOnlyMemory<byte> rgb)
    {
        if (Conditioning is not { Kind: not ConditioningKind.Latents } input)
            throw RequestFault.PixelsNotPlanned();
        var bytes = (long)input.Frames * FrameBytes;
        return rgb.Length == bytes ? this with { Pixels = rgb }
            : throw RequestFault.PixelBytes(rgb.Length, Width, Height, input.Frames, bytes);
    }

    /// <summary>The prompt of a unit.</summary>
    /// <param name="unit">Number of the unit, from 0.</param>
    public string PromptOf(int unit) => (Prompts.LastOrDefault(prompt => prompt.FromUnit <= unit) ?? Prompts[0]).Prompt;
}

/// <summary>A prompt and the unit it begins with.</summary>
/// <param name="FromUnit">First unit made with it.</param>
/// <param name="Prompt">The prompt, with its suffix.</param>
public sealed record UnitPrompt(int FromUnit, string Prompt);
