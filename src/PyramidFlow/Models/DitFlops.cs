namespace PyramidFlow.Models;

/// <summary>
/// Floating point operations of a transformer of either family: 2 for each multiply-add of a matrix product, nothing else (no
/// norms, activations, softmax, rotary turns). Attention counts the pairs of query and key that see each other. With d the
/// width, a block's linear layers take 12 d² multiply-adds per token, and attention 2 d per pair.
/// </summary>
public static class DitFlops
{
    /// <summary>The pass over the whole sequence; see <see cref="PyramidTransformer.Forward"/>.</summary>
    /// <param name="config">Sizes of the model.</param>
    /// <param name="shape">The stage, with all its rows.</param>
    public static long Joint(ITransformerConfig config, SequenceShape shape) => 2 * shape.Rows * (
        Modulation(config) + EmbedText(config, shape) + EmbedClips(config, shape.Length - shape.TextLength)
        + Blocks(config, shape, 0, shape.Length, shape.Unit.Tokens) + ReadOut(config, shape));

    /// <summary>Forward and backward of the pass over the whole sequence: every product comes with two more of its size.</summary>
    /// <param name="config">Sizes of the model.</param>
    /// <param name="shape">The stage, with all its rows.</param>
    public static long Training(ITransformerConfig config, SequenceShape shape) => 3 * Joint(config, shape);

    /// <summary>The prefix pass for one timestep; see <see cref="PyramidTransformer.ComputePrefix"/>.</summary>
    /// <param name="config">Sizes of the model.</param>
    /// <param name="shape">The stage, with all its rows.</param>
    public static long Prefix(ITransformerConfig config, SequenceShape shape) => 2 * shape.Rows * (
        Modulation(config) + EmbedText(config, shape) + EmbedClips(config, shape.PrefixLength - shape.TextLength)
        + Blocks(config, shape, 0, shape.PrefixLength, 0));

    /// <summary>The unit pass; see <see cref="PyramidTransformer.ForwardUnit"/>.</summary>
    /// <param name="config">Sizes of the model.</param>
    /// <param name="shape">The stage, with all its rows.</param>
    public static long Unit(ITransformerConfig config, SequenceShape shape) => 2 * shape.Rows * (
        EmbedClips(config, shape.Unit.Tokens)
        + Blocks(config, shape, shape.PrefixLength, shape.Unit.Tokens, shape.Unit.Tokens) + ReadOut(config, shape));

    // Of one row: conditioning vector, then adaLN outputs: 2 x 6 of a block with two streams (whose text has 2 where nobody
    // reads it afterwards), 3 of one with one stream, 2 before the read-out.
    private static long Modulation(ITransformerConfig c) =>
        (((256 + c.Dim) + (c.PooledProjectionDim + c.Dim)) * c.Dim)
        + ((c.ModulationOutputs + 2) * c.Dim * c.Dim);

    private static long EmbedText(ITransformerConfig c, SequenceShape shape) => shape.TextLength * c.JointAttentionDim * c.Dim;

    private static long EmbedClips(ITransformerConfig c, long tokens) => tokens * PatchChannels(c) * c.Dim;

    private static long ReadOut(ITransformerConfig c, SequenceShape shape) => shape.Unit.Tokens * c.Dim * PatchChannels(c);

    private static long PatchChannels(ITransformerConfig c) => c.LatentChannels * Patches.Size * Patches.Size;

    // The last block makes keys and values (2 d²) of all tokens and the rest (10 d²) of the wanted ones only.
    private static long Blocks(ITransformerConfig c, SequenceShape shape, long first, long count, long outputs)
    {
        var square = c.Dim * c.Dim;
        var block = (count * 12 * square) + (2 * c.Dim * shape.Pairs(first, count));
        var last = (count * 2 * square) + (outputs * 10 * square) + (2 * c.Dim * shape.Pairs(first + count - outputs, outputs));
        return ((c.Blocks - 1) * block) + last;
    }
}
