using PyramidFlow.Cli.Parsing;

namespace PyramidFlow.Cli.Generating;

/// <summary>What was asked of one clip, on the command line, in a batch file or in an earlier clip; null is what was left out.</summary>
internal sealed record ClipArguments
{
    public string? Prompt { get; init; }

    public string? Image { get; init; }

    public int? Frames { get; init; }

    public double? Seconds { get; init; }

    public FrameSize? Size { get; init; }

    public IReadOnlyList<int>? Steps { get; init; }

    public IReadOnlyList<int>? VideoSteps { get; init; }

    public double? Guidance { get; init; }

    public double? VideoGuidance { get; init; }

    public (double Alpha, double Minimum)? LinearGuidance { get; init; }

    public int? FramesPerUnit { get; init; }

    public bool? SampleImage { get; init; }

    public string? Negative { get; init; }

    public string? Suffix { get; init; }

    public ulong? Seed { get; init; }

    /// <summary>These, and where they leave something out the others.</summary>
    public ClipArguments Over(ClipArguments others)
    {
        var saysLength = Frames is not null || Seconds is not null;
        return new ClipArguments
        {
            Prompt = Prompt ?? others.Prompt,
            Image = Image ?? others.Image,
            Frames = saysLength ? Frames : others.Frames,
            Seconds = saysLength ? Seconds : others.Seconds,
            Size = Size ?? others.Size,
            Steps = Steps ?? others.Steps,
            VideoSteps = VideoSteps ?? others.VideoSteps,
            Guidance = Guidance ?? others.Guidance,
            VideoGuidance = VideoGuidance ?? others.VideoGuidance,
            LinearGuidance = LinearGuidance ?? others.LinearGuidance,
            FramesPerUnit = FramesPerUnit ?? others.FramesPerUnit,
            SampleImage = SampleImage ?? others.SampleImage,
            Negative = Negative ?? others.Negative,
            Suffix = Suffix ?? others.Suffix,
            Seed = Seed ?? others.Seed,
        };
    }
}
