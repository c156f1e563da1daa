using PyramidFlow.Models;
using PyramidFlow.Models.Tokenizers;

namespace PyramidFlow.Hub.RandomModels;

/// <summary>Configs of the models of a random checkpoint.</summary>
/// <param name="Transformer">The diffusion transformer.</param>
/// <param name="TransformerFolder">Folder name of the transformer.</param>
/// <param name="Vae">The VAE.</param>
/// <param name="Clips">One CLIP encoder, or two with projection.</param>
/// <param name="T5">The T5 encoder.</param>
/// <param name="Settings">Content of <c>pipeline.json</c>; null for the released defaults.</param>
internal sealed record RandomSizes(
    ITransformerConfig Transformer,
    string TransformerFolder,
    CausalVideoVaeConfig Vae,
    IReadOnlyList<ClipTextConfig> Clips,
    T5EncoderConfig T5,
    PipelineSettings? Settings = null)
{
    // As in the released configs, an end token of 2 means the largest id of the row.
    private const int LargestId = 2;
    private const int Positions = ClipTokenizer.DefaultMaxLength;
    private static readonly string Released384 = CheckpointNames.TransformerOf("384p");

    /// <summary>The configs of a layout.</summary>
    /// <param name="layout">Checkpoint to imitate, one of <see cref="RandomLayout.All"/>.</param>
    /// <param name="scale">Size.</param>
    /// <param name="clipRows">Vocabulary size of the CLIP tokenizers; used for tiny models.</param>
    /// <param name="t5Rows">Vocabulary size of the T5 tokenizer; used for tiny models.</param>
    internal static RandomSizes For(string layout, RandomScale scale, int clipRows, int t5Rows)
    {
        var (family, isTiny) = (RandomLayout.Family(layout), scale != RandomScale.Real);
        if (layout == RandomLayout.Sprites)
            return Sprites(clipRows, t5Rows) with { Settings = isTiny ? Small(family, 64, 9) : Small(family, 128, 49) };
        var sizes = scale switch
        {
            RandomScale.Tiny => family.Tiny(clipRows, t5Rows),
            RandomScale.Wide => family.Wide(clipRows, t5Rows),
            _ => family.Released,
        };
        return new RandomSizes(sizes.Transformer, Released384, sizes.Vae, sizes.Clips, sizes.T5, isTiny ? Small(family, 64, 9) : null);
    }

    private static RandomSizes Sprites(int clipRows, int t5Rows) => new(
        new PyramidFluxConfig(InChannels: 64, NumLayers: 2, NumSingleLayers: 4, AttentionHeadDim: 32, NumAttentionHeads: 4, JointAttentionDim: 128, PooledProjectionDim: 128, AxesDimsRope: [8, 12, 12]),
        CheckpointNames.Transformer, CausalVideoVaeConfig.Uniform([16, 32, 64, 64], 1, 1, latentChannels: 16, groups: 4),
        [new ClipTextConfig(clipRows, 128, 256, 1, 4, Positions, LargestId)], new T5EncoderConfig(t5Rows, 128, 32, 256, 2, 4, FeedForwardProj: "gated-gelu"));

    private static PipelineSettings Small(ModelFamily family, int size, int frames) =>
        new(family.Latent, "", "", size, size, frames, 24, [1, 1, 1], [1, 1, 1], 0, 0);
}
