using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>Where a part of a training differs from what its configuration says about all.</summary>
public sealed record PartOptions
{
    /// <summary>Peak learning rate; null is the configured one.</summary>
    public double? LearningRate { get; init; }

    /// <summary>Whether the hidden matrix of a key steps by Muon; null is AdamW for all weights.</summary>
    public Func<string, bool>? TakesMuon { get; init; }

    /// <summary>Element type the modules compute in; null is the configured one.</summary>
    public ElementType? ComputeType { get; init; }

    /// <summary>Whether a running average of the weights is kept, if the configuration wants one.</summary>
    public bool IsAveraged { get; init; } = true;

    /// <summary>Whether only weights of two or more dimensions decay.</summary>
    public bool DecayMatricesOnly { get; init; }
}
