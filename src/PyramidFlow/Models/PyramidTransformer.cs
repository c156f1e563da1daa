using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// A diffusion transformer of Pyramid Flow: predicts the velocity of a noisy unit from text and a history of clean clips of
/// rising resolution. The released families differ in how clips are embedded, in their positions and in their blocks; the
/// passes are the same.
/// </summary>
public abstract class PyramidTransformer : Module
{
    private TransformerStreams? streams;

    /// <summary>Its sizes.</summary>
    public abstract ITransformerConfig Config { get; }

    /// <summary>
    /// Gradient checkpointing: share of the blocks, from the first on, whose activations are computed again in backward instead of being kept; 0 to 1.
    /// It saves memory, costs up to one more forward, and gives equal gradients.
    /// </summary>
    public double CheckpointRatio { get; set; }

    /// <summary>Device of its weights.</summary>
    public Device Device => Parts.ProjOut.Weight.Device;

    /// <summary>Element type of its weights, in which it computes.</summary>
    public ElementType WeightType => Parts.ProjOut.Weight.Type;

    private protected abstract TransformerParts Parts { get; }

    /// <inheritdoc/>
    private protected override IEnumerable<WeightStream> Streams => streams is null ? [] : [streams.Modulation, streams.Blocks];

    /// <summary>Features of a head that are rotated by time, height and width; all 0 without rotary positions.</summary>
    private protected abstract IReadOnlyList<int> RotaryDims { get; }

    /// <summary>The layout of one stage, for <see cref="Forward"/> over several steps. The caller disposes it.</summary>
    /// <param name="clips">Sizes, history oldest first, the noisy unit last.</param>
    /// <param name="text">Text rows of the stage.</param>
    /// <param name="attention">How to compute attention; null is the default.</param>
    public SequenceLayout Layout(IReadOnlyList<ClipSize> clips, TextMask text, AttentionSettings? attention = null)
    {
        var positions = PositionEmbeddings(clips);
        return new SequenceLayout(text, clips, RotaryDims, Config.UseTemporalCausal, attention, Device) { PositionEmbeddings = positions };
    }

    /// <summary>Shifts, scales and gates of all blocks; they depend on timestep and pooled text only.</summary>
    /// <param name="timesteps">[rows], 0..1000.</param>
    /// <param name="pooled">[rows, pooled].</param>
    public TransformerModulation Modulate(Tensor timesteps, Tensor pooled)
    {
        var activated = Parts.TimeText.Forward(timesteps, pooled.To(WeightType)).Silu();    // [rows, d]
        return new TransformerModulation([.. Parts.Joint.Select((b, i) => InTurn(i, () => b.Modulate(activated)))],
            [.. Parts.Single.Select((b, i) => InTurn(Parts.Joint.Length + i, () => b.Modulate(activated)))], Parts.NormOut.Forward(activated));

        T InTurn<T>(int block, Func<T> modulate)
        {
            using var turn = streams?.Modulation.Enter(block);
            return modulate();
        }
    }

    /// <summary>The joint pass over packed stages: row r of text and timesteps belongs to stage r mod (number of stages).</summary>
    /// <param name="stages">For each stage its clips [b, c, t, h, w], history oldest first, the noisy unit last.</param>
    /// <param name="text">Text of b x stages rows.</param>
    /// <param name="timesteps">[b x stages], 0..1000.</param>
    /// <param name="layouts">Layouts of the stages from earlier calls with the same sizes and text masks; null makes new ones.</param>
    /// <param name="attention">How to compute attention in new layouts; null is the default.</param>
    /// <returns>The velocity of each stage's noisy unit, shaped like it.</returns>
    /// <exception cref="InvalidOperationException">There will be a backward with <see cref="CheckpointRatio"/>, and no layouts that last until then.</exception>
    public Tensor[] Forward(IReadOnlyList<IReadOnlyList<Tensor>> stages, TextCondition text, Tensor timesteps,
        IReadOnlyList<SequenceLayout>? layouts = null, AttentionSettings? attention = null)
    {
        if (layouts is null && CheckpointRatio > 0 && NoGrad.IsRecording)
            throw new InvalidOperationException("blocks that are computed again in backward need their layouts until then: pass layouts and dispose them after backward");
        using var scope = new TensorScope();
        var modulation = Modulate(timesteps, text.Pooled);
        var context = EmbedText(text);
        var rows = text.Mask.Rows;
        var result = new Tensor[stages.Count];
        for (var i = 0; i < result.Length; i++)
        {
            var layout = layouts?[i] ?? Layout([.. stages[i].Select(ClipSize.Of)], text.Mask.Stage(i, result.Length), attention);
            var words = context.Slice(0, i, rows, result.Length).Narrow(1, 0, layout.TextLength);
            result[i] = scope.Keep(ForwardStage(stages[i], words, layout, modulation.Rows(i, rows, result.Length)));
            if (layouts is null)
                layout.Dispose();
        }

        return result;
    }

    /// <summary>
    /// The prefix pass: text and history alone, for all timesteps of a stage in one batch. Needs the causal mask and at least
    /// one history clip (without one, text sees the noisy unit).
    /// </summary>
    /// <param name="history">Clips [b, c, t, h, w], oldest first.</param>
    /// <param name="unit">Size of the noisy unit to come.</param>
    /// <param name="text">Text of b rows.</param>
    /// <param name="timesteps">[steps], 0..1000; every row goes through all of them.</param>
    /// <param name="attention">How to compute attention; null is the default.</param>
    /// <param name="kept">A history cache with the text and the first frames of this history, from earlier passes: only the frames behind them run. Null runs all.</param>
    /// <returns>For <see cref="ForwardUnit"/>; the caller disposes it, before the history cache.</returns>
    /// <exception cref="InvalidOperationException">The model is not causal, or there is no history.</exception>
    public PrefixCache ComputePrefix(IReadOnlyList<Tensor> history, ClipSize unit, TextCondition text, Tensor timesteps,
        AttentionSettings? attention = null, HistorySlice? kept = null)
    {
        if (!Config.UseTemporalCausal)
            throw new InvalidOperationException("without temporal causal attention the history sees the noisy unit: use Forward");
        if (history.Count == 0)
            throw new InvalidOperationException("the first unit has no history, so text sees the noisy unit: use Forward");
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var steps = (int)timesteps.Size(0);
        var held = kept?.Held(steps) ?? 0;                                                  // frames that need not run
        var rest = Behind(history, held);
        var frame = ClipSize.Of(history[0]);
        ClipSize[] clips = [.. held == 0 ? Array.Empty<ClipSize>() : [frame with { Time = held }], .. rest.Select(ClipSize.Of), unit];
        var modulation = Modulate(timesteps.RepeatInterleave(text.Mask.Rows, 0), text.Pooled.Repeat(steps, 1));
        var prefix = new PrefixCache(Layout(clips, text.Mask, attention), modulation, steps);
        try
        {
            using var all = Layout(clips, text.Mask.Repeat(steps), attention);
            var first = Tokens(held);                                                       // where the pass begins
            var final = Math.Max(first, Tokens(kept?.FinalFrames ?? 0));                    // where tokens begin that will change again
            if (rest.Count == 0)
            {
                for (var block = 0; block < Config.Blocks; block++)
                    prefix.Add(kept!.Value.View(block, steps, first));
                return prefix;
            }

            var words = held == 0 ? EmbedText(text).Repeat(steps, 1, 1) : null;             // [steps * b, l, d]
            var x = EmbedClips(rest, all, clips.Length - 1 - rest.Count).Repeat(steps, 1, 1); // [steps * b, n, d]
            var before = held == 0 ? null : Enumerable.Range(0, Config.Blocks).Select(block => (IReadOnlyList<KeyValues>)[kept!.Value.View(block, steps, first)]).ToList();
            RunBlocks(words, x, modulation, new BlockPass(all, first, before,
                (block, own) => prefix.Add(kept is { } slice ? slice.Append(block, steps, own, first, final, all) : [own])), outputs: null);
            kept?.Commit(steps);
            return prefix;

            long Tokens(long frames) => frames == 0 ? 0 : all.TextLength + (frames * frame.FrameTokens);
        }
        catch
        {
            prefix.Dispose();
            throw;
        }
    }

    /// <summary>The unit pass: the noisy unit's tokens against a prefix; equal to <see cref="Forward"/> over the whole sequence.</summary>
    /// <param name="noisy">[b, c, t, h, w], of the size the prefix was made for.</param>
    /// <param name="timestep">Which of the prefix's timesteps.</param>
    /// <param name="prefix">Text and history.</param>
    /// <param name="own">From <see cref="Modulate"/>, where the unit's own timestep is another than the prefix's, which is then an approximation.</param>
    /// <returns>The velocity, shaped like <paramref name="noisy"/>.</returns>
    public Tensor ForwardUnit(Tensor noisy, int timestep, PrefixCache prefix, TransformerModulation? own = null)
    {
        var layout = prefix.Layout;
        if (ClipSize.Of(noisy) != layout.Unit)
            throw new ArgumentException($"this prefix was made for a unit of {layout.Unit}, not {ClipSize.Of(noisy)}", nameof(noisy));
        using var scope = new TensorScope();
        var (before, modulation) = prefix.At(timestep);
        modulation = own ?? modulation;
        var embedded = EmbedClips([noisy], layout, layout.Clips.Count - 1);                 // [b, n, d]
        var x = RunBlocks(null, embedded, modulation, new BlockPass(layout, layout.PrefixLength, before), layout.Unit.Tokens)!;
        return scope.Keep(ReadOut(x, layout, modulation));
    }

    /// <inheritdoc/>
    public override void StreamWeights(bool on = true)
    {
        foreach (var stream in Streams)
            stream.Settle();
        streams = on ? TransformerStreams.Of(Parts) : null;
    }

    /// <summary>Text tokens at the model's width; the same in every step.</summary>
    internal Tensor EmbedText(TextCondition text) =>
        Parts.Context.Forward(text.Tokens.Narrow(1, 0, text.Mask.Length).To(WeightType)); // [rows, l, d]

    /// <summary>Position embeddings that are added to each clip's tokens, in no scope; none where positions are rotary; see <see cref="SequenceLayout.PositionEmbeddings"/>.</summary>
    private protected virtual IReadOnlyList<Tensor> PositionEmbeddings(IReadOnlyList<ClipSize> clips) => [];

    /// <summary>Embeds clips as tokens of the model's width, including position embeddings.</summary>
    /// <param name="clips">Neighbouring clips of the layout, [b, c, t, h, w].</param>
    /// <param name="layout">Where they lie.</param>
    /// <param name="first">Which clip of the layout the first one is.</param>
    /// <returns>[b, n, d].</returns>
    private protected abstract Tensor EmbedClips(IReadOnlyList<Tensor> clips, SequenceLayout layout, int first);

    // Clips without their first frames, as views.
    private static List<Tensor> Behind(IReadOnlyList<Tensor> clips, long frames)
    {
        var rest = new List<Tensor>();
        foreach (var clip in clips)
        {
            var gone = Math.Min(frames, clip.Size(2));
            frames -= gone;
            if (gone < clip.Size(2))
                rest.Add(gone == 0 ? clip : clip.Narrow(2, gone, clip.Size(2) - gone));
        }

        return rest;
    }

    /// <summary>The joint pass of one stage, given everything that stays the same between its steps.</summary>
    /// <param name="clips">History oldest first, the noisy unit last.</param>
    /// <param name="text">From <see cref="EmbedText"/>.</param>
    /// <param name="layout">Of these clips and that text.</param>
    /// <param name="modulation">For one timestep, as many rows as the text.</param>
    internal Tensor ForwardStage(IReadOnlyList<Tensor> clips, Tensor text, SequenceLayout layout, TransformerModulation modulation)
    {
        using var scope = new TensorScope();
        var x = RunBlocks(text, EmbedClips(clips, layout, 0), modulation, new BlockPass(layout, 0), layout.Unit.Tokens)!;
        return scope.Keep(ReadOut(x, layout, modulation));
    }

    // Runs all blocks in order over the text, if it takes part, and x; returns the last `outputs` tokens, or this process's share of them where several
    // processes divide the heads. The inputs of a block are freed after it (text and x themselves stay the caller's).
    private Tensor? RunBlocks(Tensor? text, Tensor x, TransformerModulation modulation, BlockPass pass, long? outputs)
    {
        using var scope = new TensorScope();
        (text, x, outputs) = pass.Divide(text, x, outputs, Config.Blocks);
        var (firstText, first) = (text, x);
        var (joint, single) = (Parts.Joint, Parts.Single);
        var doubles = single.Length > 0 ? joint.Length : joint.Length - 1;
        var recomputed = pass.CanRepeat ? (int)Math.Ceiling(CheckpointRatio * Config.Blocks) : 0;
        for (var i = 0; i < doubles; i++)
        {
            using var turn = streams?.Blocks.Enter(i);
            var (nextText, next) = joint[i].Run(text, x, modulation.Joint[i], pass, i < recomputed);
            Free(text, firstText);
            Free(x, first);
            (text, x) = (nextText, next);
        }

        if (single.Length == 0)
        {
            using var turn = streams?.Blocks.Enter(doubles);
            return Kept(joint[^1].RunLast(text, x, modulation.Joint[^1], pass, outputs, doubles < recomputed));
        }

        if (text is not null)
        {
            var joined = Tensor.Cat([text, x], 1);                                          // [b, l + n, d]
            Free(text, firstText);
            Free(x, first);
            x = joined;
        }

        for (var i = 0; i < single.Length - 1; i++)
        {
            using var turn = streams?.Blocks.Enter(doubles + i);
            var next = single[i].Run(x, modulation.Single[i], pass, x.Size(1), doubles + i < recomputed)!;
            Free(x, first);
            x = next;
        }

        using var last = streams?.Blocks.Enter(Config.Blocks - 1);
        return Kept(single[^1].Run(x, modulation.Single[^1], pass, outputs, Config.Blocks <= recomputed));           // [b, outputs, d]

        Tensor? Kept(Tensor? result) => result is null ? null : scope.Keep(result);

        static void Free(Tensor? used, Tensor? callers)
        {
            if (!ReferenceEquals(used, callers))
                used?.Dispose();
        }
    }

    private Tensor ReadOut(Tensor x, SequenceLayout layout, TransformerModulation modulation)
    {
        var y = Parts.ProjOut.Forward(AdaLayerNorm.SplitLast(modulation.Last).Apply(x));          // [b, n, 4c]
        y = layout.Settings.Heads?.Whole(y, layout.Unit.Tokens) ?? y;
        return Patches.Join(y, layout.Unit);                                                // [b, c, t, h, w]
    }
}

/// <summary>
/// The modules of a <see cref="PyramidTransformer"/> in the order of a pass. They are fields of the derived
/// models, whose order is the order of the weights in a training state.
/// </summary>
/// <param name="TimeText">Gives the conditioning vector.</param>
/// <param name="Context">Text tokens to the model's width.</param>
/// <param name="Joint">Blocks with two streams.</param>
/// <param name="Single">Blocks with one stream that follow; may be none.</param>
/// <param name="NormOut">Modulation of the last norm.</param>
/// <param name="ProjOut">Tokens to patches.</param>
internal sealed record TransformerParts(TimeTextEmbedding TimeText, Linear Context, JointBlock[] Joint, FluxSingleBlock[] Single,
    AdaLayerNorm NormOut, Linear ProjOut);

/// <summary>All adaLN outputs of a <see cref="PyramidTransformer"/> for a batch of (timestep, pooled text) rows.</summary>
/// <param name="Joint">Of the blocks with two streams: picture [rows, 6d], text [rows, 6d] (2d where the block is its last).</param>
/// <param name="Single">Of the single-stream blocks, [rows, 3d].</param>
/// <param name="Last">Of the last norm, [rows, 2d].</param>
public sealed record TransformerModulation((Tensor X, Tensor Text)[] Joint, Tensor[] Single, Tensor Last) : IDisposable
{
    private IEnumerable<Tensor> All => [.. Joint.SelectMany(m => new[] { m.X, m.Text }), .. Single, Last];

    /// <summary>Frees the tensors before their scope ends.</summary>
    public void Dispose()
    {
        foreach (var tensor in All)
            tensor.Dispose();
    }

    /// <summary>Takes the tensors out of their scope: the caller disposes them.</summary>
    public TransformerModulation Release()
    {
        foreach (var tensor in All)
            TensorScope.Release(tensor);
        return this;
    }

    /// <summary>Rows first, first + step, ... before <paramref name="end"/>, as views.</summary>
    public TransformerModulation Rows(long first, long end, long step = 1)
    {
        return new TransformerModulation([.. Joint.Select(m => (Some(m.X), Some(m.Text)))], [.. Single.Select(Some)], Some(Last));

        Tensor Some(Tensor all) => all.Slice(0, first, end, step);
    }
}

/// <summary>Weight streams of a transformer: weights are in memory only while they are used.</summary>
/// <param name="Modulation">Weights of the blocks' adaptive norms, which are applied before the blocks, for many timesteps at once.</param>
/// <param name="Blocks">The other weights of the blocks; first blocks with two streams, then those with one.</param>
internal sealed record TransformerStreams(WeightStream Modulation, WeightStream Blocks)
{
    internal static TransformerStreams Of(TransformerParts parts)
    {
        List<Module> blocks = [.. parts.Joint, .. parts.Single];
        return new TransformerStreams(new WeightStream([.. blocks.Select(Adaptive)]), new WeightStream([.. blocks.Select(Others)]));
    }

    private static IReadOnlyList<Parameter> Adaptive(Module block) =>
        [.. block.NamedModules().Where(named => named.Module is AdaLayerNorm).SelectMany(named => Weights(named.Module))];

    private static IReadOnlyList<Parameter> Others(Module block) => [.. Weights(block).Except(Adaptive(block))];

    private static IEnumerable<Parameter> Weights(Module module) => module.NamedParameters().Select(named => named.Parameter);
}

/// <summary>Gradient checkpointing of blocks (<see cref="GradientCheckpointing"/>).</summary>
internal static class Recomputation
{
    /// <summary><see cref="JointBlock.Forward"/>.</summary>
    internal static (Tensor? Text, Tensor X) Run(this JointBlock block, Tensor? text, Tensor x, (Tensor X, Tensor Text) modulation,
        BlockPass pass, bool recompute)
    {
        if (!recompute || text is null)
            return block.Forward(text, x, modulation, pass);
        var results = GradientCheckpointing.Run(
            inputs =>
            {
                var (words, picture) = block.Forward(inputs[0], inputs[1], (inputs[2], inputs[3]), pass);
                return [words!, picture];
            },
            text, x, modulation.X, modulation.Text);
        return (results[0], results[1]);
    }

    /// <summary><see cref="JointBlock.ForwardLast"/>.</summary>
    internal static Tensor? RunLast(this JointBlock block, Tensor? text, Tensor x, (Tensor X, Tensor Text) modulation, BlockPass pass,
        long? outputs, bool recompute) =>
        recompute && text is not null && outputs is not null
            ? GradientCheckpointing.Run(inputs => [block.ForwardLast(inputs[0], inputs[1], (inputs[2], inputs[3]), pass, outputs)!],
                text, x, modulation.X, modulation.Text)[0]
            : block.ForwardLast(text, x, modulation, pass, outputs);

    /// <summary><see cref="FluxSingleBlock.Forward"/>.</summary>
    internal static Tensor? Run(this FluxSingleBlock block, Tensor x, Tensor modulation, BlockPass pass, long? outputs, bool recompute) =>
        recompute && outputs is not null
            ? GradientCheckpointing.Run(inputs => [block.Forward(inputs[0], inputs[1], pass, outputs)!], x, modulation)[0]
            : block.Forward(x, modulation, pass, outputs);
}
