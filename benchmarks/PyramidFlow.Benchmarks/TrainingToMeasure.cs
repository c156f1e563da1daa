using PyramidFlow.Models;

namespace PyramidFlow.Benchmarks;

/// <summary>A training step to measure.</summary>
/// <param name="Transformer">What is trained.</param>
/// <param name="Clips">Clips in the batch, a multiple of 4: a quarter, a half and a quarter of them train the three stages, as released.</param>
/// <param name="Units">Units of each clip, of which the last is learned and the others are its history.</param>
public sealed record TrainingToMeasure(ITransformerConfig Transformer, int Clips = 4, int Units = 9)
{
    /// <summary>A transformer of miniFLUX's kind with about 100 million weights.</summary>
    public static TrainingToMeasure HundredMillion { get; } = new(new PyramidFluxConfig(InChannels: 64, NumLayers: 2, NumSingleLayers: 6,
        AttentionHeadDim: 64, NumAttentionHeads: 12, JointAttentionDim: 4096, PooledProjectionDim: 768));
}
