using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Parsing;

namespace PyramidFlow.Cli.Generating;

/// <summary>What was typed after <c>generate</c>; null is what was left out.</summary>
internal sealed record GenerateArguments
{
    public required string Prompt { get; init; }

    public string? Output { get; init; }

    public string? Image { get; init; }

    public int? Frames { get; init; }

    public double? Seconds { get; init; }

    public FrameSize? Size { get; init; }

    public IReadOnlyList<int>? Steps { get; init; }

    public IReadOnlyList<int>? VideoSteps { get; init; }

    public double? Guidance { get; init; }

    public double? VideoGuidance { get; init; }

    public string? Negative { get; init; }

    public string? Suffix { get; init; }

    public ulong? Seed { get; init; }

    public ModelArguments Model { get; init; } = new();
}
