using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>What of a transformer is trained: all weights, or low-rank adapters of some layers.</summary>
/// <param name="IsWhole">Whether all weights are trained.</param>
/// <param name="Adapts">Whether a layer, by the end of its key such as <c>to_q</c> or <c>ff.net.2</c>, has an adapter.</param>
internal sealed record TrainedLayers(bool IsWhole, Func<string, bool> Adapts)
{
    /// <summary>All weights.</summary>
    internal static TrainedLayers Whole { get; } = new(true, _ => false);

    /// <summary>Whether backward needs the input of one of these layers.</summary>
    internal bool NeedInputOf(params ReadOnlySpan<string> layers)
    {
        foreach (var layer in layers)
        {
            if (IsWhole || Adapts(layer))
                return true;
        }

        return false;
    }
}

/// <summary>How a transformer is trained, as far as the memory of its activations depends on it.</summary>
/// <param name="Network">The transformer.</param>
/// <param name="Type">Element type of the computation.</param>
/// <param name="Device">Where it works.</param>
/// <param name="CheckpointRatio">Share of the blocks that are computed again in backward.</param>
/// <param name="Layers">What is trained.</param>
internal sealed record TransformerTraining(ITransformerConfig Network, ElementType Type, DeviceType Device, double CheckpointRatio, TrainedLayers Layers)
{
    // Matrices of a block, in squares of the width: those of a stream in a block with two, of the text in a last one, whose keys and values alone are used, and of a
    // block with one stream.
    private const int StreamMatrices = 12, KeyMatrices = 2, SingleMatrices = 12;

    // The widest of them: that of the output of a block with one stream has two parts, whose gradients are copied together.
    private const int JointMatrix = 4, SingleMatrix = 10;

    private const int Inner = 4;

    private bool IsNarrow => Type.Size() < sizeof(float);

    // On a CPU, norms and activations of a narrow type are computed on wide copies, which backward keeps in place of the originals (Fused.InFloat32).
    private bool WorksOnCopies => IsNarrow && Device == DeviceType.Cpu;

    /// <summary>Most bytes of tensors during forward and backward of packed stages, without weights, gradients of weights and inputs.</summary>
    /// <param name="stages">Sequences in the order of the pass.</param>
    /// <param name="pooledWidth">Width of the pooled text.</param>
    internal long Peak(IReadOnlyList<SequenceShape> stages, long pooledWidth)
    {
        var passes = stages.Select(Pass).ToList();
        var rows = stages.Sum(stage => (long)stage.Rows);
        var words = stages.Max(stage => stage.TextLength);
        // The text at its own and at the model's width, and the outputs of the adaptive norms, last until the end of backward.
        var held = Bytes(rows * words, Network.JointAttentionDim) + Bytes(rows * words, Network.Dim)
            + Bytes(rows, pooledWidth) + (2 * Bytes(rows, Network.ModulationOutputs * Network.Dim));
        var peak = held;
        foreach (var pass in passes)
        {
            held += pass.Before;
            foreach (var block in pass.Blocks)
            {
                peak = Math.Max(peak, held + block.Whole);
                held += block.Kept;
            }

            held += pass.After;
            peak = Math.Max(peak, held);
        }

        // Backward frees what it has used, last stage and last block first. Gradients of weights that several stages use are added up outside the weights until the last
        // of these stages is done; a block that is computed again has a backward of its own and adds them at once.
        foreach (var (i, pass) in passes.Index().Reverse())
        {
            held -= pass.After;
            foreach (var block in pass.Blocks.Reverse())
            {
                peak = Math.Max(peak, held + block.Backward);
                held -= block.Kept;
                if (passes.Count > 1 && !block.IsRecomputed)
                    held += i == passes.Count - 1 ? block.Gradients : i == 0 ? -block.Gradients : 0;
                peak = Math.Max(peak, held);
            }

            held -= pass.Before;
        }

        return peak;
    }

    private StagePass Pass(SequenceShape shape)
    {
        var (rows, text, length, unit) = ((long)shape.Rows, (long)shape.TextLength, shape.Length, shape.Unit.Tokens);
        var (patches, doubles) = (Network.LatentChannels * Patches.Size * Patches.Size, Doubles);
        var recomputed = (int)Math.Ceiling(CheckpointRatio * Network.Blocks);
        var blocks = new List<BlockMemory>();
        for (var i = 0; i < Network.Blocks; i++)
        {
            var isLast = i == Network.Blocks - 1;
            var tape = new Tape();
            if (i < doubles)
                AddJoint(tape, rows, text, length - text, isLast ? unit : length - text, isLast);
            else
                AddSingle(tape, rows, length, isLast ? unit : length);
            blocks.Add(new BlockMemory(tape.Saved, tape.Scratch, Outputs: Bytes(rows * (isLast ? unit : length), Network.Dim))
            {
                Inputs = i >= recomputed ? null : i < doubles ? Bytes(rows * text, Network.Dim) + Bytes(rows * (length - text), Network.Dim) : Bytes(rows * length, Network.Dim),
                Work = BackwardOf(rows * (isLast ? unit : i < doubles ? Math.Max(text, length - text) : length)) + Squares(i < doubles ? JointMatrix : SingleMatrix),
                Gradients = Squares(i >= doubles ? SingleMatrices : StreamMatrices + (isLast ? KeyMatrices : StreamMatrices)),
            });
        }

        // Patches of the clips, the joint sequence before the first block, and the tables of rotary positions.
        var before = (Layers.IsWhole ? Bytes(rows * (length - text), patches) : 0) + AllocatedBytes.Of(length * Network.Dim / Network.Heads * sizeof(float), Device)
            + (!HasVectors && IsShort(length) ? Bytes(rows * length, length) : 0);
        var after = new Tape();
        AddNorm(after, rows * unit, Layers.IsWhole);
        after.Add(Layers.IsWhole, Bytes(rows * unit, Network.Dim));
        // Velocity, target, difference and its square.
        return new StagePass(before, blocks, after.Saved + (4 * AllocatedBytes.Of(rows * unit * patches * sizeof(float), Device)));
    }

    // Blocks with two streams come first. They have 12 outputs of adaptive norms, the last of a model without blocks of one stream fewer; those of one stream have 3.
    private int Doubles => (int)Math.Ceiling((Network.ModulationOutputs - (3 * Network.Blocks)) / 9.0);

    private long Squares(int count) => Layers.IsWhole ? Bytes(count * Network.Dim, Network.Dim) : 0;

    // Gradients that are alive while the feed-forward part goes backward, less what it has freed by then.
    private long BackwardOf(long tokens) => WorksOnCopies
        ? 2 * Wide(tokens, Inner * Network.Dim)
        : Bytes(tokens, 2 * Inner * Network.Dim);

    private void AddJoint(Tape tape, long rows, long text, long picture, long queries, bool isLast)
    {
        var all = rows * (text + picture);
        AddProjections(tape, rows * picture, rows * queries, "to_q", "to_k", "to_v");
        AddProjections(tape, rows * text, isLast ? 0 : rows * text, "add_q_proj", "add_k_proj", "add_v_proj");
        // Text and picture one after another: queries, unless only the picture has any, keys and values.
        tape.Scratch += ((isLast ? 0 : 1) + 2) * Bytes(all, Network.Dim);
        AddAttention(tape, rows, isLast ? queries : text + picture, text + picture);
        AddOutput(tape, rows * queries, rows > 1 && !isLast, "to_out.0", "ff.net.0.proj", "ff.net.2");
        if (!isLast)
            AddOutput(tape, rows * text, rows > 1, "to_add_out", "ff_context.net.0.proj", "ff_context.net.2");
    }

    private void AddSingle(Tape tape, long rows, long length, long queries)
    {
        var outputs = rows * queries;
        AddProjections(tape, rows * length, outputs, "to_q", "to_k", "to_v", "proj_mlp");
        AddAttention(tape, rows, queries, length);
        tape.Add(Layers.NeedInputOf("proj_out"), Bytes(outputs, Network.Dim));
        AddActivation(tape, outputs, "proj_mlp", Layers.NeedInputOf("proj_out"));
        // The parts of the output, and their sum.
        tape.Scratch += 2 * Bytes(outputs, Network.Dim);
        tape.Add(Layers.IsWhole, Bytes(outputs, Network.Dim));
        AddAdapter(tape, outputs, "proj_out", 1);
        if (Layers.Adapts("proj_out"))
            tape.Scratch += Bytes(outputs, (1 + Inner) * Network.Dim);
    }

    // Norm, projections and norms of heads.
    private void AddProjections(Tape tape, long tokens, long queries, string query, string key, string value, string? other = null)
    {
        if (tokens == 0)
            return;
        AddNorm(tape, tokens, Layers.IsWhole);
        tape.Add(Layers.NeedInputOf(query, key, value, other ?? query), Bytes(tokens, Network.Dim));
        AddHeads(tape, queries, query);
        AddHeads(tape, tokens, key);
        tape.Scratch += Bytes(tokens, Network.Dim);
        AddAdapter(tape, tokens, value, 1);
    }

    // A projection, whose result is normalised head by head in float32: of its own steps backward keeps the input, its square and, where the norm's scale is trained, the normalised heads.
    private void AddHeads(Tape tape, long tokens, string layer)
    {
        if (tokens == 0)
            return;
        AddAdapter(tape, tokens, layer, 1);
        tape.Saved += (2 * Wide(tokens, Network.Dim)) + (2 * Wide(tokens, Network.Heads));
        if (IsNarrow)
            tape.Scratch += Bytes(tokens, Network.Dim) + Wide(tokens, Network.Dim);
        tape.Add(Layers.IsWhole, Bytes(tokens, Network.Dim));
        tape.Scratch += Bytes(tokens, Network.Dim);
    }

    private void AddAttention(Tape tape, long rows, long queries, long keys)
    {
        tape.Saved += Bytes(rows * queries, Network.Dim) + (2 * Bytes(rows * keys, Network.Dim));
        // A short sequence keeps its weights, or each query its exponent where the CPU has vectors.
        if (HasVectors)
            tape.Saved += AllocatedBytes.Of(rows * queries * Network.Heads * sizeof(float), Device);
        else if (IsShort(keys))
            tape.Saved += Bytes(rows * queries * keys, Network.Heads);
        // The operator of a GPU keeps its result.
        if (Device != DeviceType.Cpu)
            tape.Saved += Bytes(rows * queries, Network.Dim);
    }

    private bool HasVectors => Device == DeviceType.Cpu && FusedAttention.HasVectors(Type, Network.Dim / Network.Heads);

    private bool IsShort(long length) => Device == DeviceType.Cpu && length <= new AttentionSettings().WholeUpTo;

    // Output projection, residual, norm, feed-forward part, residual.
    private void AddOutput(Tape tape, long tokens, bool copies, string output, string wide, string narrow)
    {
        tape.Add(Layers.NeedInputOf(output), Bytes(tokens, Network.Dim));
        // Of several rows, a part of the joint sequence is copied before it is projected.
        if (copies)
            tape.Scratch += Bytes(tokens, Network.Dim);
        AddAdapter(tape, tokens, output, 1);
        tape.Add(Layers.IsWhole, Bytes(tokens, Network.Dim));
        if (WorksOnCopies)
            tape.Scratch += Bytes(tokens, Network.Dim);
        AddNorm(tape, tokens, Layers.IsWhole);
        tape.Add(Layers.NeedInputOf(wide), Bytes(tokens, Network.Dim));
        AddActivation(tape, tokens, wide, Layers.NeedInputOf(narrow));
        AddAdapter(tape, tokens, narrow, 1);
        tape.Add(Layers.IsWhole, Bytes(tokens, Network.Dim));
    }

    // A norm with scale and shift: backward needs its input, and the normalised tokens where the scale is trained.
    private void AddNorm(Tape tape, long tokens, bool trainsScale)
    {
        tape.Saved += WorksOnCopies ? Wide(tokens, Network.Dim) : Bytes(tokens, Network.Dim);
        tape.Saved += 2 * Wide(tokens, 1);
        if (WorksOnCopies)
            tape.Scratch += Wide(tokens, Network.Dim);
        tape.Add(trainsScale, Bytes(tokens, Network.Dim));
    }

    private void AddActivation(Tape tape, long tokens, string layer, bool keepsResult)
    {
        AddAdapter(tape, tokens, layer, Inner);
        if (WorksOnCopies)
            tape.Scratch += Bytes(tokens, Inner * Network.Dim) + Wide(tokens, Inner * Network.Dim);
        tape.Saved += WorksOnCopies ? Wide(tokens, Inner * Network.Dim) : Bytes(tokens, Inner * Network.Dim);
        tape.Add(keepsResult, Bytes(tokens, Inner * Network.Dim));
    }

    // The results of layer and adapter, and the latter scaled; their sum is counted by the caller.
    private void AddAdapter(Tape tape, long tokens, string layer, int widths)
    {
        if (Layers.Adapts(layer))
            tape.Scratch += 3 * Bytes(tokens, widths * Network.Dim);
    }

    private long Bytes(long tokens, long width) => AllocatedBytes.Of(tokens * width * Type.Size(), Device);

    private long Wide(long tokens, long width) => AllocatedBytes.Of(tokens * width * sizeof(float), Device);

    // Bytes of a block: what backward needs, and what lives until the block ends.
    private sealed class Tape
    {
        public long Saved { get; set; }

        public long Scratch { get; set; }

        public void Add(bool isSaved, long bytes)
        {
            if (isSaved)
                Saved += bytes;
            else
                Scratch += bytes;
        }
    }

    // A block of one stage: what backward needs, what lives until the block ends, and its results, which are the inputs of the next block.
    private sealed record BlockMemory(long Saved, long Scratch, long Outputs)
    {
        // What a block keeps that is computed again; null for one that keeps what backward needs.
        public long? Inputs { get; init; }

        // The most of its backward beside what it keeps and the gradients of its results.
        public long Work { get; init; }

        // Gradients of its weights.
        public long Gradients { get; init; }

        public bool IsRecomputed => Inputs is not null;

        public long Kept => Inputs ?? Saved;

        public long Whole => Saved + Scratch + Outputs;

        // The most in its backward, beside what all blocks up to this one keep.
        public long Backward => Outputs + (IsRecomputed ? Math.Max(Whole, Saved + Work) : Work);
    }

    private sealed record StagePass(long Before, IReadOnlyList<BlockMemory> Blocks, long After);
}
