using System.Text.Json;
using PyramidFlow.Hub;
using PyramidFlow.Models.Text;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Models.Vae;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary><c>pyramid_mmdit</c> (SD3): blocks with two streams, sine-cosine positions, two CLIP models with projection and T5.</summary>
internal sealed class Sd3Family : ModelFamily
{
    public override string Name => "pyramid_mmdit";

    public override string Title => "SD3";

    public override string ShortName => "sd3";

    public override string ReleasedName => "pyramid-flow-sd3";

    public override string ClassName => PyramidMmditConfig.Class;

    public override IReadOnlyList<(string Tokenizer, string TextEncoder)> TextComponents { get; } =
        [("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"), ("tokenizer_3", "text_encoder_3")];

    public override LatentNormalization Latent { get; } = new(0.1490, 1 / 1.8415, -0.2343, 1 / 3.0986);

    public override CheckpointSizes Released { get; } = new(
        new PyramidMmditConfig(InChannels: 16, NumLayers: 24, AttentionHeadDim: 64, NumAttentionHeads: 24, CaptionProjectionDim: 1536, JointAttentionDim: 4096, PooledProjectionDim: 2048),
        CausalVideoVaeConfig.Released, [CheckpointSizes.ClipL, CheckpointSizes.ClipG], CheckpointSizes.T5Xxl);

    public override string ClipClassName => "CLIPTextModelWithProjection";

    public override CheckpointSizes Tiny(int clipRows, int t5Rows) => new(
        new PyramidMmditConfig(InChannels: 4, NumLayers: 2, AttentionHeadDim: 16, NumAttentionHeads: 2, CaptionProjectionDim: 32, JointAttentionDim: 32, PooledProjectionDim: 64, SampleSize: 16, PosEmbedMaxSize: 24),
        CheckpointSizes.TinyVae, [CheckpointSizes.TinyClip(clipRows), CheckpointSizes.TinyClip(clipRows)], CheckpointSizes.TinyT5(t5Rows));

    public override bool HasKeysOf(IReadOnlyDictionary<string, JsonElement> config) => config.ContainsKey("caption_projection_dim");

    public override ITransformerConfig LoadConfig(string path) => PyramidMmditConfig.Load(path);

    public override ITransformerConfig ParseConfig(string json, string name) => PyramidMmditConfig.Parse(json, name);

    public override ITransformerConfig DeserializeConfig(JsonElement json) => json.Deserialize(Sd3Json.Default.PyramidMmditConfig)!;

    public override Module BuildClip(ClipTextConfig config) => new ClipTextModelWithProjection(config);

    public override long PooledWidth(ClipTextConfig config) => config.ProjectionDim ?? 0;

    public override PromptEncoder CreatePromptEncoder(IReadOnlyList<(ClipTokenizer Tokenizer, Module Model)> clips, T5Tokenizer t5Tokenizer, T5Encoder t5) =>
        new Sd3PromptEncoder((clips[0].Tokenizer, (ClipTextModelWithProjection)clips[0].Model), (clips[1].Tokenizer, (ClipTextModelWithProjection)clips[1].Model), t5Tokenizer, t5);
}

/// <content>Registers the family.</content>
public static partial class ModelFamilies
{
    /// <summary><c>pyramid_mmdit</c> (SD3).</summary>
    public static ModelFamily Sd3 { get; } = Register(new Sd3Family());
}
