using PyramidFlow.Models.Text;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Models;
using PyramidFlow.Models.Vae;

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
    /// <param name="layout">Checkpoint to imitate.</param>
    /// <param name="scale">Size.</param>
    /// <param name="clipRows">Vocabulary size of the CLIP tokenizers; used for tiny models.</param>
    /// <param name="t5Rows">Vocabulary size of the T5 tokenizer; used for tiny models.</param>
    internal static RandomSizes For(RandomLayout layout, RandomScale scale, int clipRows, int t5Rows) => (layout, scale) switch
    {
        (RandomLayout.Sprites, _) => Sprites(clipRows, t5Rows) with { Settings = scale == RandomScale.Tiny ? Small(ModelFamily.Flux, 64, 9) : Small(ModelFamily.Flux, 128, 49) },
        (RandomLayout.Miniflux, RandomScale.Real) => new RandomSizes(
            new PyramidFluxConfig(InChannels: 64, NumLayers: 8, NumSingleLayers: 16, AttentionHeadDim: 64, NumAttentionHeads: 30, JointAttentionDim: 4096, PooledProjectionDim: 768),
            Released384, CausalVideoVaeConfig.Released, [ClipL], T5Xxl),
        (RandomLayout.Sd3, RandomScale.Real) => new RandomSizes(
            new PyramidMmditConfig(InChannels: 16, NumLayers: 24, AttentionHeadDim: 64, NumAttentionHeads: 24, CaptionProjectionDim: 1536, JointAttentionDim: 4096, PooledProjectionDim: 2048),
            Released384, CausalVideoVaeConfig.Released, [ClipL, new(49408, 1280, 5120, 32, 20, Positions, LargestId, "gelu", ProjectionDim: 1280)], T5Xxl),
        (RandomLayout.Miniflux, _) => new RandomSizes(
            new PyramidFluxConfig(InChannels: 16, NumLayers: 1, NumSingleLayers: 1, AttentionHeadDim: 16, NumAttentionHeads: 2, JointAttentionDim: 32, PooledProjectionDim: 32, AxesDimsRope: [4, 6, 6]),
            Released384, TinyVae, [TinyClip(clipRows)], TinyT5(t5Rows), Small(ModelFamily.Flux, 64, 9)),
        _ => new RandomSizes(
            new PyramidMmditConfig(InChannels: 4, NumLayers: 2, AttentionHeadDim: 16, NumAttentionHeads: 2, CaptionProjectionDim: 32, JointAttentionDim: 32, PooledProjectionDim: 64, SampleSize: 16, PosEmbedMaxSize: 24),
            Released384, TinyVae, [TinyClip(clipRows), TinyClip(clipRows)], TinyT5(t5Rows), Small(ModelFamily.Mmdit, 64, 9)),
    };

    private static ClipTextConfig ClipL => new(49408, 768, 3072, 12, 12, Positions, LargestId, ProjectionDim: 768);

    private static T5EncoderConfig T5Xxl => new(32128, 4096, 64, 10240, 24, 64, FeedForwardProj: "gated-gelu");

    private static CausalVideoVaeConfig TinyVae => CausalVideoVaeConfig.Uniform([8, 8, 8, 8], 1, 1, latentChannels: 4, groups: 2);

    private static ClipTextConfig TinyClip(int rows) => new(rows, 32, 32, 1, 2, Positions, LargestId, ProjectionDim: 32);

    private static T5EncoderConfig TinyT5(int rows) => new(rows, 32, 16, 32, 1, 2, FeedForwardProj: "gated-gelu");

    private static RandomSizes Sprites(int clipRows, int t5Rows) => new(
        new PyramidFluxConfig(InChannels: 64, NumLayers: 2, NumSingleLayers: 4, AttentionHeadDim: 32, NumAttentionHeads: 4, JointAttentionDim: 128, PooledProjectionDim: 128, AxesDimsRope: [8, 12, 12]),
        CheckpointNames.Transformer, CausalVideoVaeConfig.Uniform([16, 32, 64, 64], 1, 1, latentChannels: 16, groups: 4),
        [new ClipTextConfig(clipRows, 128, 256, 1, 4, Positions, LargestId)], new T5EncoderConfig(t5Rows, 128, 32, 256, 2, 4, FeedForwardProj: "gated-gelu"));

    private static PipelineSettings Small(ModelFamily family, int size, int frames) =>
        new(LatentNormalization.Released(family), "", "", size, size, frames, 24, [1, 1, 1], [1, 1, 1], 0, 0);
}
