using PyramidFlow.Generation;

namespace PyramidFlow.Cli.Generating;

/// <summary>What was asked of one clip, on the command line, in a batch file or in an earlier clip; null is what was left out.</summary>
internal sealed record ClipArguments : GenerationOptions
{
    /// <summary>Picture to start from.</summary>
    public string? ImageFile { get; init; }

    /// <summary>Video to continue.</summary>
    public string? VideoFile { get; init; }

    /// <summary>File of latents to continue.</summary>
    public string? LatentsFile { get; init; }

    /// <summary>Whether any seed was asked for, so that the seed of an earlier file does not count.</summary>
    public bool AnySeed { get; init; }

    /// <summary>Whether there is something to continue, so that a prompt may be empty.</summary>
    public bool IsGiven => ImageFile is not null || GoesOn;

    /// <summary>Whether a video or latents are continued, so that lengths are those of what is added.</summary>
    public bool GoesOn => VideoFile is not null || LatentsFile is not null;

    /// <summary>These, and where they leave something out the others.</summary>
    public ClipArguments Over(ClipArguments others) => SettingsTable.Over(this, AnySeed ? others with { Seed = null } : others) with
    {
        ImageFile = IsGiven ? ImageFile : others.ImageFile,
        VideoFile = IsGiven ? VideoFile : others.VideoFile,
        LatentsFile = IsGiven ? LatentsFile : others.LatentsFile,
        AnySeed = AnySeed || (Seed is null && others.AnySeed),
    };
}
