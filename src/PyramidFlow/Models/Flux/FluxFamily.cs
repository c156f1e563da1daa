using System.Text.Json;
using PyramidFlow.Hub;
using PyramidFlow.Models.Text;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Models.Vae;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary><c>pyramid_flux</c> (miniFLUX): blocks with two streams and with one, rotary positions, one CLIP and T5.</summary>
internal sealed class FluxFamily : ModelFamily
{
    public override string Name => "pyramid_flux";

    public override string Title => "miniFLUX";

    public override string ShortName => "miniflux";

    public override string ReleasedName => "pyramid-flow-miniflux";

    public override string ClassName => PyramidFluxConfig.Class;

    public override IReadOnlyList<(string Tokenizer, string TextEncoder)> TextComponents { get; } =
        [("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")];

    public override LatentNormalization Latent { get; } = new(-0.04, 1 / 1.8726, -0.2343, 1 / 3.0986);

    public override CheckpointSizes Released { get; } = new(
        new PyramidFluxConfig(InChannels: 64, NumLayers: 8, NumSingleLayers: 16, AttentionHeadDim: 64, NumAttentionHeads: 30, JointAttentionDim: 4096, PooledProjectionDim: 768),
        CausalVideoVaeConfig.Released, [CheckpointSizes.ClipL], CheckpointSizes.T5Xxl);

    public override string ClipClassName => "CLIPTextModel";

    public override CheckpointSizes Tiny(int clipRows, int t5Rows) => new(
        new PyramidFluxConfig(InChannels: 16, NumLayers: 1, NumSingleLayers: 1, AttentionHeadDim: 16, NumAttentionHeads: 2, JointAttentionDim: 32, PooledProjectionDim: 32, AxesDimsRope: [4, 6, 6]),
        CheckpointSizes.TinyVae, [CheckpointSizes.TinyClip(clipRows)], CheckpointSizes.TinyT5(t5Rows));

    public override bool HasKeysOf(IReadOnlyDictionary<string, JsonElement> config) => config.ContainsKey("axes_dims_rope") || config.ContainsKey("num_single_layers");

    public override ITransformerConfig LoadConfig(string path) => PyramidFluxConfig.Load(path);

    public override ITransformerConfig ParseConfig(string json, string name) => PyramidFluxConfig.Parse(json, name);

    public override ITransformerConfig DeserializeConfig(JsonElement json) => json.Deserialize(FluxJson.Default.PyramidFluxConfig)!;

    public override Module BuildClip(ClipTextConfig config) => new ClipTextModel(config);

    public override long PooledWidth(ClipTextConfig config) => config.HiddenSize;

    public override PromptEncoder CreatePromptEncoder(IReadOnlyList<(ClipTokenizer Tokenizer, Module Model)> clips, T5Tokenizer t5Tokenizer, T5Encoder t5) =>
        new FluxPromptEncoder(clips[0].Tokenizer, (ClipTextModel)clips[0].Model, t5Tokenizer, t5);
}

/// <content>Registers the family.</content>
public static partial class ModelFamilies
{
    /// <summary><c>pyramid_flux</c> (miniFLUX).</summary>
    public static ModelFamily Flux { get; } = Register(new FluxFamily());
}
