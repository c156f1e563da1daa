using PyramidFlow.Cli.Models;

namespace PyramidFlow.Cli.Generating;

/// <summary>What was typed after <c>generate</c> or <c>extend</c>; null is what was left out.</summary>
internal sealed record GenerateArguments
{
    public ClipArguments Clip { get; init; } = new();

    public ModelArguments Model { get; init; } = new();

    public string? Output { get; init; }

    /// <summary>Clips of each prompt.</summary>
    public int Count { get; init; } = 1;

    /// <summary>File to repeat.</summary>
    public string? Like { get; init; }

    public bool Json { get; init; }

    public bool Verbose { get; init; }

    /// <summary>Whether a file can be watched while it is written.</summary>
    public bool Stream { get; init; }

    /// <summary>File for the latents.</summary>
    public string? SaveLatents { get; init; }
}
