using PyramidFlow.Torch;

namespace PyramidFlow.Transformers;

/// <summary>
/// The FLUX-shaped transformer of Pyramid Flow (miniFLUX): predicts the velocity of a noisy unit from text and a history of
/// clean clips of rising resolution. Module names follow the released checkpoints
/// (<c>pyramid_dit/flux_modules/modeling_pyramid_flux.py</c>).
/// </summary>
public sealed class PyramidFlux : Module
{
    private readonly TimeTextEmbedding timeTextEmbed;
    private readonly Linear contextEmbedder;
    private readonly Linear xEmbedder;
    private readonly FluxDoubleBlock[] transformerBlocks;
    private readonly FluxSingleBlock[] singleTransformerBlocks;
    private readonly AdaLayerNorm normOut;
    private readonly Linear projOut;

    /// <summary>Declares the model; it has no weights until it is loaded or initialised.</summary>
    public PyramidFlux(PyramidFluxConfig config)
    {
        var (dim, heads) = (config.Dim, config.NumAttentionHeads);
        Config = config;
        timeTextEmbed = new TimeTextEmbedding(dim, config.PooledProjectionDim);
        contextEmbedder = new Linear(config.JointAttentionDim, dim, Initializers.Normal(0.02));
        xEmbedder = FluxInit.Linear(config.InChannels, dim);
        transformerBlocks = [.. Enumerable.Range(0, config.NumLayers).Select(_ => new FluxDoubleBlock(dim, heads))];
        singleTransformerBlocks = [.. Enumerable.Range(0, config.NumSingleLayers).Select(_ => new FluxSingleBlock(dim, heads))];
        normOut = new AdaLayerNorm(dim, 2);
        projOut = new Linear(dim, config.InChannels, Initializers.Zeros);
    }

    /// <summary>Its sizes.</summary>
    public PyramidFluxConfig Config { get; }

    /// <summary>How attention is computed.</summary>
    public AttentionSettings Attention { get; init; } = new();

    /// <summary>Where its weights are.</summary>
    public Device Device => xEmbedder.Weight.Value.Device;

    /// <summary>Element type of its weights, in which it computes.</summary>
    public ElementType WeightType => xEmbedder.Weight.Value.Type;

    /// <summary>The layout of one stage, for <see cref="Forward"/> over several steps. The caller disposes it.</summary>
    /// <param name="clips">Sizes, history oldest first, the noisy unit last.</param>
    /// <param name="text">Text rows of the stage.</param>
    public SequenceLayout Layout(IReadOnlyList<ClipSize> clips, TextMask text) =>
        new(text, clips, Config.AxesDimsRope, Config.UseTemporalCausal, Attention, Device);

    /// <summary>Shifts, scales and gates of all blocks; they depend on timestep and pooled text only.</summary>
    /// <param name="timesteps">[rows], 0..1000.</param>
    /// <param name="pooled">[rows, pooled].</param>
    public FluxModulation Modulate(Tensor timesteps, Tensor pooled)
    {
        var activated = timeTextEmbed.Forward(timesteps, pooled.To(WeightType)).Silu();     // [rows, d]
        return new FluxModulation([.. transformerBlocks.Select(b => b.Modulate(activated))],
            [.. singleTransformerBlocks.Select(b => b.Modulate(activated))], normOut.Forward(activated));
    }

    /// <summary>The joint pass over packed stages: row r of text and timesteps belongs to stage r mod (number of stages).</summary>
    /// <param name="stages">For each stage its clips [b, c, t, h, w], history oldest first, the noisy unit last.</param>
    /// <param name="text">Text of b x stages rows.</param>
    /// <param name="timesteps">[b x stages], 0..1000.</param>
    /// <param name="layouts">Layouts of the stages from earlier calls with the same sizes and text masks; null makes new ones.</param>
    /// <returns>The velocity of each stage's noisy unit, shaped like it.</returns>
    public Tensor[] Forward(IReadOnlyList<IReadOnlyList<Tensor>> stages, TextCondition text, Tensor timesteps,
        IReadOnlyList<SequenceLayout>? layouts = null)
    {
        using var scope = new TensorScope();
        var modulation = Modulate(timesteps, text.Pooled);
        var context = EmbedText(text);
        var rows = text.Mask.Rows;
        var result = new Tensor[stages.Count];
        for (var i = 0; i < result.Length; i++)
        {
            var layout = layouts?[i] ?? Layout([.. stages[i].Select(ClipSize.Of)], text.Mask.Stage(i, result.Length));
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
    /// <returns>For <see cref="ForwardUnit"/>; the caller disposes it.</returns>
    /// <exception cref="InvalidOperationException">The model is not causal, or there is no history.</exception>
    public PrefixCache ComputePrefix(IReadOnlyList<Tensor> history, ClipSize unit, TextCondition text, Tensor timesteps)
    {
        if (!Config.UseTemporalCausal)
            throw new InvalidOperationException("without temporal causal attention the history sees the noisy unit: use Forward");
        if (history.Count == 0)
            throw new InvalidOperationException("the first unit has no history, so text sees the noisy unit: use Forward");
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var steps = (int)timesteps.Size(0);
        ClipSize[] clips = [.. history.Select(ClipSize.Of), unit];
        using var all = Layout(clips, text.Mask.Repeat(steps));
        var modulation = Modulate(timesteps.RepeatInterleave(text.Mask.Rows, 0), text.Pooled.Repeat(steps, 1));
        var words = EmbedText(text).Repeat(steps, 1, 1);                                    // [steps * b, l, d]
        var x = EmbedClips(history).Repeat(steps, 1, 1);                                    // [steps * b, n, d]
        var prefix = new PrefixCache(Layout(clips, text.Mask), modulation, steps);
        try
        {
            RunBlocks(words, x, modulation, new BlockPass(all, 0, record: prefix.Blocks), outputs: 0);
            return prefix;
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
    /// <returns>The velocity, shaped like <paramref name="noisy"/>.</returns>
    public Tensor ForwardUnit(Tensor noisy, int timestep, PrefixCache prefix)
    {
        var layout = prefix.Layout;
        if (ClipSize.Of(noisy) != layout.Unit)
            throw new ArgumentException($"this prefix was made for a unit of {layout.Unit}, not {ClipSize.Of(noisy)}", nameof(noisy));
        using var scope = new TensorScope();
        var (blocks, modulation) = prefix.At(timestep);
        var x = RunBlocks(null, EmbedClips([noisy]), modulation, new BlockPass(layout, layout.PrefixLength, blocks), layout.Unit.Tokens)!;
        return scope.Keep(ReadOut(x, layout, modulation));
    }

    /// <summary>Text tokens at the model's width; the same in every step.</summary>
    internal Tensor EmbedText(TextCondition text) =>
        contextEmbedder.Forward(text.Tokens.Narrow(1, 0, text.Mask.Length).To(WeightType)); // [rows, l, d]

    private Tensor EmbedClips(IEnumerable<Tensor> clips) =>
        xEmbedder.Forward(Tensor.Cat([.. clips.Select(c => Patches.Cut(c.To(WeightType)))], 1)); // [b, n, d]

    /// <summary>The joint pass of one stage from what stays the same between its steps.</summary>
    /// <param name="clips">History oldest first, the noisy unit last.</param>
    /// <param name="text">From <see cref="EmbedText"/>.</param>
    /// <param name="layout">Of these clips and that text.</param>
    /// <param name="modulation">For one timestep, as many rows as the text.</param>
    internal Tensor ForwardStage(IEnumerable<Tensor> clips, Tensor text, SequenceLayout layout, FluxModulation modulation)
    {
        using var scope = new TensorScope();
        var x = RunBlocks(text, EmbedClips(clips), modulation, new BlockPass(layout, 0), layout.Unit.Tokens)!;
        return scope.Keep(ReadOut(x, layout, modulation));
    }

    // All blocks in order over the text, if it takes part, and x; gives the last `outputs` tokens. What a block has used up is
    // freed at once (text and x themselves stay the caller's).
    private Tensor? RunBlocks(Tensor? text, Tensor x, FluxModulation modulation, BlockPass pass, long outputs)
    {
        using var scope = new TensorScope();
        var (firstText, first) = (text, x);
        for (var i = 0; i < transformerBlocks.Length; i++)
        {
            var (nextText, next) = transformerBlocks[i].Forward(text, x, modulation.Double[i], pass);
            Free(text, firstText);
            Free(x, first);
            (text, x) = (nextText, next);
        }

        if (text is not null)
        {
            var joined = Tensor.Cat([text, x], 1);                                          // [b, l + n, d]
            Free(text, firstText);
            Free(x, first);
            x = joined;
        }

        for (var i = 0; i < singleTransformerBlocks.Length; i++)
        {
            var last = i == singleTransformerBlocks.Length - 1;
            var next = singleTransformerBlocks[i].Forward(x, modulation.Single[i], pass, last ? outputs : x.Size(1));
            Free(x, first);
            if (next is null)
                return null;
            x = next;
        }

        return outputs == 0 ? null : scope.Keep(x.Narrow(1, x.Size(1) - outputs, outputs)); // [b, outputs, d]

        static void Free(Tensor? used, Tensor? callers)
        {
            if (!ReferenceEquals(used, callers))
                used?.Dispose();
        }
    }

    private Tensor ReadOut(Tensor x, SequenceLayout layout, FluxModulation modulation)
    {
        var y = projOut.Forward(AdaLayerNorm.SplitLast(modulation.Last).Apply(x));          // [b, n, 4c]
        return Patches.Join(y, layout.Unit);                                                // [b, c, t, h, w]
    }
}
