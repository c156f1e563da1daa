using PyramidFlow.Transformers;

namespace PyramidFlow.Benchmarks;

/// <summary>Sizes of the released transformer (pyramid-flow-miniflux).</summary>
public static class ReleasedModels
{
    /// <summary>Double- and single-stream blocks of the released transformer.</summary>
    public const int DoubleBlocks = 8, SingleBlocks = 16;

    /// <summary>miniFLUX: 1920 wide, about 2 billion weights.</summary>
    /// <param name="blocks">Keeps only this many blocks, 1 to 24, one of three double-stream; null keeps all.</param>
    /// <exception cref="ArgumentException">The model has fewer blocks.</exception>
    public static PyramidFluxConfig Transformer(int? blocks = null)
    {
        var all = DoubleBlocks + SingleBlocks;
        if (blocks < 1 || blocks > all)
            throw new ArgumentException($"the model has {all} blocks, not {blocks}: use 1 to {all}");
        var kept = blocks ?? all;
        var doubles = Math.Max(1, (kept + 1) / 3);
        return new PyramidFluxConfig(InChannels: 64, NumLayers: doubles, NumSingleLayers: kept - doubles, AttentionHeadDim: 64,
            NumAttentionHeads: 30, JointAttentionDim: 4096, PooledProjectionDim: 768);
    }
}
