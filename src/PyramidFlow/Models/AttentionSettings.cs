namespace PyramidFlow.Models;

/// <summary>How attention trades speed for memory; the result is the same.</summary>
public sealed record AttentionSettings
{
    /// <summary>Sequences up to this many tokens are done in one masked call: fewer, larger operations.</summary>
    public int WholeUpTo { get; init; } = 256;

    /// <summary>Queries at a time in longer sequences: memory is heads x this x tokens.</summary>
    public int QueryBlock { get; init; } = 256;
}
