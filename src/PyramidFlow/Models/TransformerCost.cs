using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Floating point operations of a transformer: 2 for each multiply-add of a matrix product, nothing else (no
/// norms, activations, softmax, rotary turns). Attention counts the pairs of query and key that attend. With d the
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
    /// <param name="held">Leading history frames that a history cache holds together with the text; 0 computes all.</param>
    public static long Prefix(ITransformerConfig config, SequenceShape shape, long held = 0)
    {
        var first = held == 0 ? 0 : shape.TextLength + (held * shape.Clips[0].FrameTokens);
        var (text, clips) = held == 0 ? (EmbedText(config, shape), shape.PrefixLength - shape.TextLength) : (0, shape.PrefixLength - first);
        return 2 * shape.Rows * (Modulation(config) + text + EmbedClips(config, clips) + Blocks(config, shape, first, shape.PrefixLength - first, 0));
    }

    /// <summary>The unit pass; see <see cref="PyramidTransformer.ForwardUnit"/>.</summary>
    /// <param name="config">Sizes of the model.</param>
    /// <param name="shape">The stage, with all its rows.</param>
    public static long Unit(ITransformerConfig config, SequenceShape shape) => 2 * shape.Rows * (
        EmbedClips(config, shape.Unit.Tokens)
        + Blocks(config, shape, shape.PrefixLength, shape.Unit.Tokens, shape.Unit.Tokens) + ReadOut(config, shape));

    // For one row: the conditioning vector, the adaLN outputs of the blocks, and 2 before the read-out.
    private static long Modulation(ITransformerConfig c) =>
        (((256 + c.Dim) + (c.PooledProjectionDim + c.Dim)) * c.Dim)
        + ((c.ModulationOutputs + 2) * c.Dim * c.Dim);

    private static long EmbedText(ITransformerConfig c, SequenceShape shape) => shape.TextLength * c.JointAttentionDim * c.Dim;

    private static long EmbedClips(ITransformerConfig c, long tokens) => tokens * PatchChannels(c) * c.Dim;

    private static long ReadOut(ITransformerConfig c, SequenceShape shape) => shape.Unit.Tokens * c.Dim * PatchChannels(c);

    private static long PatchChannels(ITransformerConfig c) => c.LatentChannels * Patches.Size * Patches.Size;

    // The last block computes keys and values (2 d²) of all tokens, and the rest (10 d²) of the wanted ones only.
    private static long Blocks(ITransformerConfig c, SequenceShape shape, long first, long count, long outputs)
    {
        var square = c.Dim * c.Dim;
        var block = (count * 12 * square) + (2 * c.Dim * shape.Pairs(first, count));
        var last = (count * 2 * square) + (outputs * 10 * square) + (2 * c.Dim * shape.Pairs(first + count - outputs, outputs));
        return ((c.Blocks - 1) * block) + last;
    }
}

/// <summary>Memory that a transformer takes beside its weights.</summary>
internal static class TransformerMemory
{
    // Numbers that a block with two streams holds for each token when its feed-forward part is at its widest, in widths of the model. Plain norms
    // and rotations work on copies, which are wider than a narrow type. Counted in the code; a test compares it with the allocator.
    private const int BlockInOnePass = 19, BlockInFloat32 = 30, BlockInNarrow = 40;

    /// <summary>Most bytes of one stage.</summary>
    /// <param name="config">The transformer.</param>
    /// <param name="shape">The sequence of an evaluation.</param>
    /// <param name="evaluations">Evaluations of the stage.</param>
    /// <param name="type">Element type.</param>
    /// <param name="device">Where it works.</param>
    /// <param name="attention">How many queries go at a time.</param>
    /// <param name="prefixBytes">Keys and values of text and history that may be held ahead; null where there is no prefix.</param>
    /// <param name="sharesPrefix">Whether several evaluations share a prefix.</param>
    /// <param name="skipsGuidance">Whether some evaluations run without guidance.</param>
    /// <param name="headProcesses">Number of processes that divide the heads.</param>
    internal static long Stage(ITransformerConfig config, SequenceShape shape, int evaluations, ElementType type, DeviceType device,
        AttentionSettings attention, long? prefixBytes, bool sharesPrefix = false, bool skipsGuidance = false, int headProcesses = 1)
    {
        var modulation = (long)evaluations * shape.Rows * config.ModulationOutputs * config.Dim * type.Size();
        if (prefixBytes is not { } most)
            return modulation + Pass(shape.Rows, shape.Length, shape.Length);
        var timestep = HistoryBuffer.BytesOfTimestep(config, type, shape.Rows, shape.PrefixLength, headProcesses);
        var ahead = (int)Math.Clamp(most / timestep, 1, evaluations);
        var prefix = Pass(shape.Rows * ahead, shape.PrefixLength, shape.PrefixLength);
        // Keys and values of prefix and unit stand side by side while a block attends.
        var unit = Pass(shape.Rows, shape.Unit.Tokens, shape.Length) + (2 * shape.Rows * shape.Length * HeadSharing.LargestWidth(config, headProcesses) * type.Size());
        // A shared prefix lacks the unit's own timesteps; and rows without guidance hold a prefix of their own.
        var apart = (sharesPrefix ? modulation : 0) + (skipsGuidance && shape.Rows > 1 ? timestep / 2 : 0);
        return (modulation * ahead / evaluations) + (ahead * timestep) + Math.Max(prefix, unit) + apart;

        long Pass(long rows, long tokens, long keys)
        {
            var queries = tokens <= attention.WholeUpTo ? tokens : Math.Min(tokens, attention.QueryBlock);
            var own = (tokens + headProcesses - 1) / headProcesses;
            return (rows * own * config.Dim * Block(type, device) * type.Size()) + (2 * rows * queries * keys * type.Size());
        }
    }

    private static int Block(ElementType type, DeviceType device) => (type, device) switch
    {
        (ElementType.Float32 or ElementType.BFloat16, DeviceType.Cpu) => BlockInOnePass,
        (ElementType.Float32, _) => BlockInFloat32,
        _ => BlockInNarrow,
    };
}
