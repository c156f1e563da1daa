using PyramidFlow.Torch;

namespace PyramidFlow.Hub.Conversion;

/// <summary>How a checkpoint is written anew.</summary>
public sealed record ConversionOptions
{
    /// <summary>Element type of floating point weights; null keeps each one's.</summary>
    public ElementType? Type { get; init; }

    /// <summary>Whether the large matrices of transformer and T5 are rounded to int8 (<see cref="Int8Weight"/>): half the memory of bfloat16.</summary>
    public bool Int8 { get; init; }

    /// <summary>Takes sentences about what that loses; null drops them.</summary>
    public Action<string>? Report { get; init; }

    /// <summary>Most bytes of tensors in one file.</summary>
    public long ShardBytes { get; init; } = 5_000_000_000;
}
