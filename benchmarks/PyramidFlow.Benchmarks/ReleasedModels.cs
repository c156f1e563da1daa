using PyramidFlow.Generation;
using PyramidFlow.Models;

namespace PyramidFlow.Benchmarks;

/// <summary>Transformers of the released sizes.</summary>
public static class ReleasedModels
{
    /// <summary>The transformer of a released model.</summary>
    /// <param name="family">miniFLUX (1920 wide, 8 double- and 16 single-stream blocks) or SD3 (1536 wide, 24 blocks).</param>
    /// <param name="blocks">Keeps only this many blocks, 1 to 24, of miniFLUX one of three double-stream; null keeps all.</param>
    /// <exception cref="ArgumentException">The model has fewer blocks.</exception>
    public static ITransformerConfig Transformer(ModelFamily? family = null, int? blocks = null)
    {
        var whole = Whole(family);
        if (blocks is not { } kept)
            return whole;
        if (kept < 1 || kept > whole.Blocks)
            throw new ArgumentException($"the model has {whole.Blocks} blocks, not {kept}: use 1 to {whole.Blocks}");
        return whole.WithBlocks(kept);
    }

    /// <summary>The text encoders of a released model.</summary>
    /// <param name="family">miniFLUX (CLIP-L and T5-XXL) or SD3 (CLIP-L, CLIP-G and T5-XXL).</param>
    /// <param name="blocks">Keeps only this many of T5's blocks; null keeps as many as memory has room for.</param>
    /// <exception cref="ArgumentException">T5 has fewer blocks.</exception>
    public static TextToMeasure Text(ModelFamily? family = null, int? blocks = null)
    {
        var released = Released(family);
        return blocks is { } kept && (kept < 1 || kept > released.T5.NumLayers)
            ? throw new ArgumentException($"T5 has {released.T5.NumLayers} blocks, not {kept}: use 1 to {released.T5.NumLayers}")
            : new TextToMeasure(released.Clips, released.T5, blocks);
    }

    /// <summary>Whether a model has all its blocks.</summary>
    internal static bool IsWhole(ITransformerConfig config) =>
        config.Blocks == Whole(ModelFamilies.For(config)).Blocks;

    private static ITransformerConfig Whole(ModelFamily? family) => Released(family).Transformer;

    private static PlannedModel Released(ModelFamily? family) => PlannedModel.Released(family ?? ModelFamilies.Flux, "768p");
}
