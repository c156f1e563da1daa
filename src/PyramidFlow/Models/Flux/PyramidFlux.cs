using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// The FLUX-shaped transformer of Pyramid Flow (miniFLUX): blocks with two streams, then blocks with one; rotary positions in
/// time, height and width. Module names follow the released checkpoints
/// (<c>pyramid_dit/flux_modules/modeling_pyramid_flux.py</c>).
/// </summary>
internal sealed class PyramidFlux : PyramidTransformer
{
    private readonly TimeTextEmbedding timeTextEmbed;
    private readonly Linear contextEmbedder;
    private readonly Linear xEmbedder;
    private readonly JointBlock[] transformerBlocks;
    private readonly FluxSingleBlock[] singleTransformerBlocks;
    private readonly AdaLayerNorm normOut;
    private readonly Linear projOut;

    /// <summary>Declares the model; it has no weights until they are loaded or initialised.</summary>
    public PyramidFlux(PyramidFluxConfig config)
    {
        var (dim, heads) = (config.Dim, config.NumAttentionHeads);
        Config = config;
        timeTextEmbed = new TimeTextEmbedding(dim, config.PooledProjectionDim);
        contextEmbedder = new Linear(config.JointAttentionDim, dim, Initializers.Normal(0.02));
        xEmbedder = Projection.New(config.InChannels, dim);
        transformerBlocks = [.. Enumerable.Range(0, config.NumLayers).Select(_ => new JointBlock(dim, new FluxJointAttention(dim, heads)))];
        singleTransformerBlocks = [.. Enumerable.Range(0, config.NumSingleLayers).Select(_ => new FluxSingleBlock(dim, heads))];
        normOut = new AdaLayerNorm(dim, 2);
        projOut = new Linear(dim, config.InChannels, Initializers.Zeros);
        Parts = new TransformerParts(timeTextEmbed, contextEmbedder, transformerBlocks, singleTransformerBlocks, normOut, projOut);
    }

    /// <inheritdoc/>
    public override PyramidFluxConfig Config { get; }

    private protected override TransformerParts Parts { get; }

    private protected override IReadOnlyList<int> RotaryDims => Config.AxesDimsRope;

    private protected override Tensor EmbedClips(IReadOnlyList<Tensor> clips, SequenceLayout layout, int first) =>
        xEmbedder.Forward(Tensor.Cat([.. clips.Select(c => Patches.Cut(c.To(WeightType)))], 1)); // [b, n, d]
}

/// <summary>Joint attention with the names of <c>pyramid_flux</c> checkpoints.</summary>
internal sealed class FluxJointAttention(long dim, long heads) : JointAttention(dim, heads, Eps, contextPreOnly: false)
{
    private const double Eps = 1e-6;

    private readonly RmsNorm normAddedQ = new(dim / heads, Eps);
    private readonly RmsNorm normAddedK = new(dim / heads, Eps);

    private protected override RmsNorm TextQueryNorm => normAddedQ;

    private protected override RmsNorm TextKeyNorm => normAddedK;
}
