using PyramidFlow.Cli.Parsing;
using PyramidFlow.Generation;
using PyramidFlow.Scheduling.Solvers;

namespace PyramidFlow.Cli.Generating;

/// <summary>What was asked of one clip, on the command line, in a batch file or in an earlier clip; null is what was left out.</summary>
internal sealed record ClipArguments
{
    public string? Prompt { get; init; }

    /// <summary>Prompts that take over later.</summary>
    public IReadOnlyList<PromptChange>? Later { get; init; }

    /// <summary>Picture to start from.</summary>
    public string? Image { get; init; }

    /// <summary>Video to go on from.</summary>
    public string? Video { get; init; }

    /// <summary>File of latents to go on from.</summary>
    public string? Latents { get; init; }

    /// <summary>Whether a given video is left out of the file.</summary>
    public bool? NewOnly { get; init; }

    public int? Frames { get; init; }

    public double? Seconds { get; init; }

    /// <summary>Frames per second of the file, from one that is made again; null is the model's.</summary>
    public double? FramesPerSecond { get; init; }

    public FrameSize? Size { get; init; }

    public IReadOnlyList<int>? Steps { get; init; }

    public IReadOnlyList<int>? VideoSteps { get; init; }

    public double? Guidance { get; init; }

    public double? VideoGuidance { get; init; }

    public (double Alpha, double Minimum)? LinearGuidance { get; init; }

    public int? FramesPerUnit { get; init; }

    /// <summary>Latent frames that a unit looks back at; 0 is all.</summary>
    public int? History { get; init; }

    public int? ReusePrefix { get; init; }

    public int? GuidanceEvery { get; init; }

    public IFlowSolver? Solver { get; init; }

    public bool? SampleImage { get; init; }

    public string? Negative { get; init; }

    public string? Suffix { get; init; }

    public ulong? Seed { get; init; }

    /// <summary>Whether any seed was asked for, so that nobody else's counts.</summary>
    public bool AnySeed { get; init; }

    /// <summary>Whether there is something to go on from, so that a prompt may be empty.</summary>
    public bool IsGiven => Image is not null || GoesOn;

    /// <summary>Whether a video or latents are gone on from, so that lengths are those of what is added.</summary>
    public bool GoesOn => Video is not null || Latents is not null;

    /// <summary>What may be computed less exactly.</summary>
    public Approximations Approximations => Approximations.Of(ReusePrefix, GuidanceEvery, Solver);

    /// <summary>These, and where they leave something out the others.</summary>
    public ClipArguments Over(ClipArguments others)
    {
        var saysLength = Frames is not null || Seconds is not null;
        return new ClipArguments
        {
            Prompt = Prompt ?? others.Prompt,
            Later = Later ?? (Prompt is null ? others.Later : null),
            Image = IsGiven ? Image : others.Image,
            Video = IsGiven ? Video : others.Video,
            Latents = IsGiven ? Latents : others.Latents,
            NewOnly = NewOnly ?? others.NewOnly,
            Frames = saysLength ? Frames : others.Frames,
            Seconds = saysLength ? Seconds : others.Seconds,
            FramesPerSecond = FramesPerSecond ?? others.FramesPerSecond,
            Size = Size ?? others.Size,
            Steps = Steps ?? others.Steps,
            VideoSteps = VideoSteps ?? others.VideoSteps,
            Guidance = Guidance ?? others.Guidance,
            VideoGuidance = VideoGuidance ?? others.VideoGuidance,
            LinearGuidance = LinearGuidance ?? others.LinearGuidance,
            FramesPerUnit = FramesPerUnit ?? others.FramesPerUnit,
            History = History ?? others.History,
            ReusePrefix = ReusePrefix ?? others.ReusePrefix,
            GuidanceEvery = GuidanceEvery ?? others.GuidanceEvery,
            Solver = Solver ?? others.Solver,
            SampleImage = SampleImage ?? others.SampleImage,
            Negative = Negative ?? others.Negative,
            Suffix = Suffix ?? others.Suffix,
            Seed = Seed ?? (AnySeed ? null : others.Seed),
            AnySeed = AnySeed || (Seed is null && others.AnySeed),
        };
    }
}
