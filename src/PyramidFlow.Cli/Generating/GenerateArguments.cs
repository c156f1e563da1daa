using PyramidFlow.Cli.Models;

namespace PyramidFlow.Cli.Generating;

/// <summary>What was typed after <c>generate</c>; null is what was left out.</summary>
internal sealed record GenerateArguments
{
    public ClipArguments Clip { get; init; } = new();

    public ModelArguments Model { get; init; } = new();

    public string? Output { get; init; }

    /// <summary>Clips of each prompt.</summary>
    public int Count { get; init; } = 1;

    /// <summary>File of many prompts.</summary>
    public string? Batch { get; init; }

    /// <summary>File to repeat.</summary>
    public string? Like { get; init; }

    public bool Json { get; init; }

    public bool Verbose { get; init; }

    /// <summary>Fails on options that do not go together.</summary>
    /// <exception cref="UsageException">Some do not.</exception>
    public void Check()
    {
        if (Batch is null)
            return;
        if (Clip.Prompt is not null)
            throw new UsageException("the prompts are in the --batch file: leave the other one out");
        if (Like is not null)
            throw new UsageException("--like repeats one file and --batch makes many: use one of them");
    }
}
