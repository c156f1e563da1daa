using PyramidFlow.Transformers;

namespace PyramidFlow.Benchmarks;

/// <summary>
/// Floating point operations of a <see cref="PyramidFlux"/>: 2 for each multiply-add of a matrix product, nothing else (no
/// norms, activations, softmax, rotary turns). Attention counts the pairs of query and key that see each other. With d the
/// width, a block's linear layers take 12 d² multiply-adds per token, and attention 2 d per pair.
/// </summary>
public static class DitFlops
{
    /// <summary>The pass over the whole sequence; see <see cref="PyramidTransformer.Forward"/>.</summary>
    /// <param name="config">Sizes of the model.</param>
    /// <param name="layout">The stage, with all its rows.</param>
    public static long Joint(PyramidFluxConfig config, SequenceLayout layout) => 2 * layout.Rows * (
        Modulation(config) + EmbedText(config, layout) + EmbedClips(config, layout.Length - layout.TextLength)
        + Blocks(config, layout, 0, layout.Length, layout.Unit.Tokens) + ReadOut(config, layout));

    /// <summary>The prefix pass for one timestep; see <see cref="PyramidTransformer.ComputePrefix"/>.</summary>
    /// <param name="config">Sizes of the model.</param>
    /// <param name="layout">The stage, with all its rows.</param>
    public static long Prefix(PyramidFluxConfig config, SequenceLayout layout) => 2 * layout.Rows * (
        Modulation(config) + EmbedText(config, layout) + EmbedClips(config, layout.PrefixLength - layout.TextLength)
        + Blocks(config, layout, 0, layout.PrefixLength, 0));

    /// <summary>The unit pass; see <see cref="PyramidTransformer.ForwardUnit"/>.</summary>
    /// <param name="config">Sizes of the model.</param>
    /// <param name="layout">The stage, with all its rows.</param>
    public static long Unit(PyramidFluxConfig config, SequenceLayout layout) => 2 * layout.Rows * (
        EmbedClips(config, layout.Unit.Tokens)
        + Blocks(config, layout, layout.PrefixLength, layout.Unit.Tokens, layout.Unit.Tokens) + ReadOut(config, layout));

    // Of one row: conditioning vector, 2 x 6, 3 and 2 adaLN outputs.
    private static long Modulation(PyramidFluxConfig c) =>
        (((256 + c.Dim) + (c.PooledProjectionDim + c.Dim)) * c.Dim)
        + (((12 * c.NumLayers) + (3 * c.NumSingleLayers) + 2) * c.Dim * c.Dim);

    private static long EmbedText(PyramidFluxConfig c, SequenceLayout layout) => layout.TextLength * c.JointAttentionDim * c.Dim;

    private static long EmbedClips(PyramidFluxConfig c, long tokens) => tokens * c.InChannels * c.Dim;

    private static long ReadOut(PyramidFluxConfig c, SequenceLayout layout) => layout.Unit.Tokens * c.Dim * c.InChannels;

    // The last single-stream block makes keys and values (2 d²) of all tokens and the rest (10 d²) of the wanted ones only.
    private static long Blocks(PyramidFluxConfig c, SequenceLayout layout, long first, long count, long outputs)
    {
        var square = c.Dim * c.Dim;
        var block = (count * 12 * square) + (2 * c.Dim * Pairs(layout, first, count));
        if (c.NumSingleLayers == 0)
            return c.NumLayers * block;
        var last = (count * 2 * square) + (outputs * 10 * square) + (2 * c.Dim * Pairs(layout, first + count - outputs, outputs));
        return ((c.NumLayers + c.NumSingleLayers - 1) * block) + last;
    }

    private static long Pairs(SequenceLayout layout, long first, long count) =>
        layout.Ranges(first, count).Sum(range => (range.End - range.Start) * range.Keys);
}
