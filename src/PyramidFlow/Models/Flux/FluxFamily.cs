using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Models.Tokenizers;
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

    public override CheckpointSizes Wide(int clipRows, int t5Rows) => Tiny(clipRows, t5Rows) with
    {
        Transformer = new PyramidFluxConfig(InChannels: 16, NumLayers: 1, NumSingleLayers: 2, AttentionHeadDim: 64, NumAttentionHeads: 30, JointAttentionDim: 32, PooledProjectionDim: 32),
    };

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

/// <summary>Sizes of a <see cref="PyramidFlux"/>, as in the <c>config.json</c> of a released checkpoint.</summary>
/// <param name="InChannels">Channels of one token: 4 x the latent channels, because patches are 2x2 regardless of <paramref name="PatchSize"/>.</param>
/// <param name="NumLayers">Number of double-stream blocks.</param>
/// <param name="NumSingleLayers">Number of single-stream blocks.</param>
/// <param name="AttentionHeadDim">Width of one attention head; even.</param>
/// <param name="NumAttentionHeads">Attention heads; the model is heads x head width wide.</param>
/// <param name="JointAttentionDim">Width of the text tokens.</param>
/// <param name="PooledProjectionDim">Width of the pooled text vector.</param>
/// <param name="AxesDimsRope">Features of a head that are rotated by time, height and width; even, together the head width; null is 16, 24, 24.</param>
/// <param name="UseTemporalCausal">Whether a latent frame attends to itself and earlier ones only.</param>
/// <param name="PatchSize">Always 1 in this family (the released files say so though patches are 2x2).</param>
internal sealed record PyramidFluxConfig(
    long InChannels,
    int NumLayers,
    int NumSingleLayers,
    long AttentionHeadDim,
    long NumAttentionHeads,
    long JointAttentionDim,
    long PooledProjectionDim,
    IReadOnlyList<int>? AxesDimsRope = null,
    bool UseTemporalCausal = true,
    int PatchSize = 1) : ITransformerConfig
{
    /// <summary>Features of a head that are rotated by time, height and width.</summary>
    public IReadOnlyList<int> AxesDimsRope { get; } = AxesDimsRope ?? [16, 24, 24];

    internal const string Class = "PyramidFluxTransformer";

    /// <inheritdoc/>
    [JsonInclude]
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Others { get; internal set; }

    /// <inheritdoc/>
    [JsonIgnore]
    public long Dim => NumAttentionHeads * AttentionHeadDim;

    /// <inheritdoc/>
    [JsonIgnore]
    public long Heads => NumAttentionHeads;

    /// <inheritdoc/>
    [JsonIgnore]
    public int Blocks => NumLayers + NumSingleLayers;

    /// <inheritdoc/>
    [JsonIgnore]
    public long LatentChannels => InChannels / 4;

    /// <inheritdoc/>
    [JsonIgnore]
    public int? MaxPatches => null;

    /// <inheritdoc/>
    [JsonIgnore]
    public string ClassName => Class;

    /// <inheritdoc/>
    [JsonIgnore]
    public long ModulationOutputs => (12 * NumLayers) + (3 * NumSingleLayers);

    /// <inheritdoc/>
    public PyramidTransformer Build() => new PyramidFlux(this);

    /// <summary>Reads and checks a <c>config.json</c>.</summary>
    /// <exception cref="CheckpointException">The file is missing, no JSON, or a key is missing or impossible; names file and key.</exception>
    public static PyramidFluxConfig Load(string path) => ConfigFile.Read(path, FluxJson.Default.PyramidFluxConfig).Check(path);

    /// <summary>Reads and checks the text of a <c>config.json</c>.</summary>
    /// <param name="json">The text.</param>
    /// <param name="name">What to call it in an error.</param>
    /// <exception cref="CheckpointException">It is no JSON, or a key is missing or impossible; names the key.</exception>
    public static PyramidFluxConfig Parse(string json, string name) =>
        ConfigFile.Parse(Encoding.UTF8.GetBytes(json), name, FluxJson.Default.PyramidFluxConfig).Check(name);

    /// <inheritdoc/>
    public ITransformerConfig WithBlocks(int count)
    {
        // One of three blocks has two streams, as in the released model.
        var doubles = Math.Max(1, (count + 1) / 3);
        return this with { NumLayers = doubles, NumSingleLayers = count - doubles };
    }

    /// <inheritdoc/>
    public string ToJson() => JsonSerializer.Serialize(this, FluxJson.Default.PyramidFluxConfig);

    private PyramidFluxConfig Check(string name)
    {
        var (key, fault) =
            InChannels < 4 || InChannels % 4 != 0 ? ("in_channels", $"{InChannels} is not a positive multiple of 4")
            : NumLayers < 0 ? ("num_layers", $"{NumLayers} is negative")
            : NumSingleLayers < 0 ? ("num_single_layers", $"{NumSingleLayers} is negative")
            : NumLayers + NumSingleLayers == 0 ? ("num_layers", "and num_single_layers are both 0")
            : AttentionHeadDim < 2 || AttentionHeadDim % 2 != 0 ? ("attention_head_dim", $"{AttentionHeadDim} is not a positive even number")
            : NumAttentionHeads < 1 ? ("num_attention_heads", $"{NumAttentionHeads} is less than 1")
            : JointAttentionDim < 1 ? ("joint_attention_dim", $"{JointAttentionDim} is less than 1")
            : PooledProjectionDim < 1 ? ("pooled_projection_dim", $"{PooledProjectionDim} is less than 1")
            : PatchSize != 1 ? ("patch_size", $"{PatchSize} is not 1")
            : AxesDimsRope.Count != 3 || AxesDimsRope.Any(d => d < 0 || d % 2 != 0) || AxesDimsRope.Sum() != AttentionHeadDim
                ? ("axes_dims_rope", $"[{string.Join(", ", AxesDimsRope)}] is not three even numbers that add up to attention_head_dim {AttentionHeadDim}")
            : ("", "");
        return key.Length == 0 ? this : throw ConfigFile.Fault(name, key, fault);
    }
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(PyramidFluxConfig))]
internal sealed partial class FluxJson : JsonSerializerContext;
