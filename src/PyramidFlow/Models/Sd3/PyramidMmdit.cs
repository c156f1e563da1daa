using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// The SD3-shaped transformer of Pyramid Flow (MMDiT): blocks with two streams throughout, the last without text output; a
/// sine-cosine table for positions in the frame, and rotary positions in time. Module names follow the released
/// checkpoints (<c>pyramid_dit/mmdit_modules/modeling_pyramid_mmdit.py</c>).
/// </summary>
internal sealed class PyramidMmdit : PyramidTransformer
{
    private readonly PatchEmbedding posEmbed;
    private readonly TimeTextEmbedding timeTextEmbed;
    private readonly Linear contextEmbedder;
    private readonly JointBlock[] transformerBlocks;
    private readonly AdaLayerNorm normOut;
    private readonly Linear projOut;

    /// <summary>Declares the model; it has no weights until they are loaded or initialised.</summary>
    public PyramidMmdit(PyramidMmditConfig config)
    {
        var (dim, heads) = (config.Dim, config.NumAttentionHeads);
        Config = config;
        posEmbed = new PatchEmbedding(config);
        timeTextEmbed = new TimeTextEmbedding(dim, config.PooledProjectionDim);
        contextEmbedder = new Linear(config.JointAttentionDim, dim, Initializers.Normal(0.02));
        transformerBlocks = [.. Enumerable.Range(0, config.NumLayers).Select(i => Block(last: i == config.NumLayers - 1))];
        normOut = new AdaLayerNorm(dim, 2);
        projOut = new Linear(dim, Patches.Size * Patches.Size * config.InChannels, Initializers.Zeros);
        RotaryDims = [config.Time == TimePositions.Rotary ? (int)config.AttentionHeadDim : 0, 0, 0];
        Parts = new TransformerParts(timeTextEmbed, contextEmbedder, transformerBlocks, [], normOut, projOut);

        JointBlock Block(bool last) => new(dim, new MmditJointAttention(dim, heads, last), last);
    }

    /// <inheritdoc/>
    public override PyramidMmditConfig Config { get; }

    private protected override TransformerParts Parts { get; }

    private protected override IReadOnlyList<int> RotaryDims { get; }

    private protected override IReadOnlyList<Tensor> PositionEmbeddings(IReadOnlyList<ClipSize> clips) => posEmbed.PositionEmbeddings(clips);

    private protected override Tensor EmbedClips(IReadOnlyList<Tensor> clips, SequenceLayout layout, int first)
    {
        var tokens = clips.Select((clip, i) => posEmbed.Forward(clip.To(WeightType), layout.PositionEmbeddings[first + i])).ToArray();
        return tokens.Length == 1 ? tokens[0] : Tensor.Cat(tokens, 1);                      // [b, n, d]
    }
}

/// <summary>Joint attention with the names of <c>pyramid_mmdit</c> checkpoints.</summary>
internal sealed class MmditJointAttention(long dim, long heads, bool contextPreOnly) : JointAttention(dim, heads, Eps, contextPreOnly)
{
    private const double Eps = 1e-5;

    private readonly RmsNorm normAddQ = new(dim / heads, Eps);
    private readonly RmsNorm normAddK = new(dim / heads, Eps);

    private protected override RmsNorm TextQueryNorm => normAddQ;

    private protected override RmsNorm TextKeyNorm => normAddK;
}
