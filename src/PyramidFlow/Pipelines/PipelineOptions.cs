using PyramidFlow.Torch;

namespace PyramidFlow.Pipelines;

/// <summary>How to load a pipeline.</summary>
public sealed record PipelineOptions
{
    /// <summary>Which transformer of the checkpoint folder, such as 384p; null takes the folder's first.</summary>
    public string? Variant { get; init; }

    /// <summary>Element type to compute in; null takes float32 on a CPU and bfloat16 on a GPU.</summary>
    public ElementType? Type { get; init; }

    /// <summary>Where to compute; null is the CPU.</summary>
    public Device? Device { get; init; }

    /// <summary>Threads of an operator; null leaves the setting as it is.</summary>
    public int? Threads { get; init; }
}
