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

    private ElementType WeightType => xEmbedder.Weight.Value.Type;

    /// <summary>The layout of one stage, for <see cref="Forward"/> over several steps. The caller disposes it.</summary>
    /// <param name="clips">Sizes, history oldest first, the noisy unit last.</param>
    /// <param name="text">Text rows of the stage.</param>
    public SequenceLayout Layout(IReadOnlyList<ClipSize> clips, TextMask text) =>
        new(text, clips, Config.AxesDimsRope, Config.UseTemporalCausal, Attention, xEmbedder.Weight.Value.Device);

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

    private Tensor EmbedText(TextCondition text) =>
        contextEmbedder.Forward(text.Tokens.Narrow(1, 0, text.Mask.Length).To(WeightType)); // [rows, l, d]

    private Tensor EmbedClips(IEnumerable<Tensor> clips) =>
        xEmbedder.Forward(Tensor.Cat([.. clips.Select(c => Patches.Cut(c.To(WeightType)))], 1)); // [b, n, d]

    private Tensor ForwardStage(IEnumerable<Tensor> clips, Tensor text, SequenceLayout layout, FluxModulation modulation)
    {
        using var scope = new TensorScope();
        var x = RunBlocks(text, EmbedClips(clips), modulation, new BlockPass(layout, 0), layout.Unit.Tokens)!;
        return scope.Keep(ReadOut(x, layout, modulation));
    }

    // All blocks in order over the text, if it takes part, and x; gives the last `outputs` tokens.
    private Tensor? RunBlocks(Tensor? text, Tensor x, FluxModulation modulation, BlockPass pass, long outputs)
    {
        using var scope = new TensorScope();
        for (var i = 0; i < transformerBlocks.Length; i++)
            (text, x) = transformerBlocks[i].Forward(text, x, modulation.Double[i], pass);
        if (text is not null)
            x = Tensor.Cat([text, x], 1);                                                   // [b, l + n, d]
        for (var i = 0; i < singleTransformerBlocks.Length; i++)
        {
            var last = i == singleTransformerBlocks.Length - 1;
            if (singleTransformerBlocks[i].Forward(x, modulation.Single[i], pass, last ? outputs : x.Size(1)) is not { } y)
                return null;
            x = y;
        }

        return scope.Keep(x.Narrow(1, x.Size(1) - outputs, outputs));                       // [b, outputs, d]
    }

    private Tensor ReadOut(Tensor x, SequenceLayout layout, FluxModulation modulation)
    {
        var y = projOut.Forward(AdaLayerNorm.SplitLast(modulation.Last).Apply(x));          // [b, n, 4c]
        return Patches.Join(y, layout.Unit);                                                // [b, c, t, h, w]
    }
}
