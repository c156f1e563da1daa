using PyramidFlow.Torch;

namespace PyramidFlow.Hub.Conversion;

/// <summary>How a checkpoint is written anew.</summary>
public sealed record ConversionOptions
{
    /// <summary>Element type of floating point weights; null keeps each one's.</summary>
    public ElementType? Type { get; init; }

    /// <summary>Most bytes of tensors in one file.</summary>
    public long ShardBytes { get; init; } = 5_000_000_000;
}
