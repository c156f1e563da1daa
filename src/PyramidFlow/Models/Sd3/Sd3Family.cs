using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Models.Tokenizers;
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

    public override CheckpointSizes Wide(int clipRows, int t5Rows) => Tiny(clipRows, t5Rows) with
    {
        Transformer = new PyramidMmditConfig(InChannels: 4, NumLayers: 3, AttentionHeadDim: 64, NumAttentionHeads: 24, CaptionProjectionDim: 1536, JointAttentionDim: 32, PooledProjectionDim: 64),
    };

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

/// <summary>Sizes of a <see cref="PyramidMmdit"/>, as in the <c>config.json</c> of a released checkpoint.</summary>
/// <param name="InChannels">Channels of the latents.</param>
/// <param name="NumLayers">Number of blocks, at least 1.</param>
/// <param name="AttentionHeadDim">Width of one attention head; even.</param>
/// <param name="NumAttentionHeads">Attention heads; the model is heads x head width wide, a multiple of 4.</param>
/// <param name="CaptionProjectionDim">Width the text is brought to: the model's.</param>
/// <param name="JointAttentionDim">Width of the text tokens.</param>
/// <param name="PooledProjectionDim">Width of the pooled text vector.</param>
/// <param name="SampleSize">Latent pixels over which the position table has distances of one patch.</param>
/// <param name="PosEmbedMaxSize">Patches on a side of the position table: the largest frame.</param>
/// <param name="MaxNumFrames">Latent frames of the time table, where there is one.</param>
/// <param name="PatchSize">Always 2.</param>
/// <param name="QkNorm">How queries and keys are normalised: always <c>rms_norm</c>.</param>
/// <param name="PosEmbedType">Positions in the frame: always <c>sincos</c>.</param>
/// <param name="TempPosEmbedType">Positions in time: <c>rope</c> or <c>sincos</c>.</param>
/// <param name="AddTempPosEmbed">Whether there are positions in time.</param>
/// <param name="InterpConditionPos">Whether a smaller clip lies over the whole noisy unit, or keeps the distances of its own patches.</param>
/// <param name="UseTemporalCausal">Whether a latent frame attends to itself and earlier ones only.</param>
internal sealed record PyramidMmditConfig(
    long InChannels,
    int NumLayers,
    long AttentionHeadDim,
    long NumAttentionHeads,
    long CaptionProjectionDim,
    long JointAttentionDim,
    long PooledProjectionDim,
    int SampleSize = 128,
    int PosEmbedMaxSize = 192,
    int MaxNumFrames = 200,
    int PatchSize = Patches.Size,
    string QkNorm = "rms_norm",
    string PosEmbedType = "sincos",
    string TempPosEmbedType = "rope",
    bool AddTempPosEmbed = true,
    bool InterpConditionPos = true,
    bool UseTemporalCausal = true) : ITransformerConfig
{
    internal const string Class = "PyramidDiffusionMMDiT";

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
    public int Blocks => NumLayers;

    /// <inheritdoc/>
    [JsonIgnore]
    public long LatentChannels => InChannels;

    /// <inheritdoc/>
    [JsonIgnore]
    public int? MaxPatches => PosEmbedMaxSize;

    /// <summary>How it encodes the latent frame of a token.</summary>
    [JsonIgnore]
    public TimePositions Time => !AddTempPosEmbed ? TimePositions.None
        : TempPosEmbedType == "rope" ? TimePositions.Rotary : TimePositions.SinCos;

    /// <summary>Reads and checks the <c>config.json</c> of a checkpoint.</summary>
    /// <exception cref="CheckpointException">The file is missing, no JSON, or a key is missing or impossible; names file and key.</exception>
    public static PyramidMmditConfig Load(string path) =>
        // The released system ignores the file's values of these keys, so its weights were trained with the following.
        (ConfigFile.Read(path, Sd3Json.Default.PyramidMmditConfig) with
        {
            PosEmbedType = "sincos",
            TempPosEmbedType = "rope",
            AddTempPosEmbed = true,
        }).Check(path);

    /// <summary>Reads and checks the text of a <c>config.json</c>, every value as it stands there.</summary>
    /// <param name="json">The text.</param>
    /// <param name="name">What to call it in an error.</param>
    /// <exception cref="CheckpointException">It is no JSON, or a key is missing or impossible; names the key.</exception>
    public static PyramidMmditConfig Parse(string json, string name) =>
        ConfigFile.Parse(Encoding.UTF8.GetBytes(json), name, Sd3Json.Default.PyramidMmditConfig).Check(name);

    /// <inheritdoc/>
    [JsonIgnore]
    public string ClassName => Class;

    /// <inheritdoc/>
    [JsonIgnore]
    public long ModulationOutputs => (12 * NumLayers) - 4;                                 // the last block gives no text

    /// <inheritdoc/>
    public PyramidTransformer Build() => new PyramidMmdit(this);

    /// <inheritdoc/>
    public ITransformerConfig WithBlocks(int count) => this with { NumLayers = count };

    /// <inheritdoc/>
    public string ToJson() => JsonSerializer.Serialize(this, Sd3Json.Default.PyramidMmditConfig);

    private PyramidMmditConfig Check(string file)
    {
        ConfigFile.RequirePositive(file, ("in_channels", InChannels), ("num_layers", NumLayers), ("attention_head_dim", AttentionHeadDim),
            ("num_attention_heads", NumAttentionHeads), ("joint_attention_dim", JointAttentionDim), ("pooled_projection_dim", PooledProjectionDim),
            ("pos_embed_max_size", PosEmbedMaxSize), ("max_num_frames", MaxNumFrames));
        var (key, fault) =
            AttentionHeadDim % 2 != 0 ? ("attention_head_dim", $"is {AttentionHeadDim}; it must be even")
            : Dim % 4 != 0 ? ("num_attention_heads", $"is {NumAttentionHeads}; with attention_head_dim {AttentionHeadDim} it must give a multiple of 4")
            : CaptionProjectionDim != Dim ? ("caption_projection_dim", $"is {CaptionProjectionDim}; it must be num_attention_heads x attention_head_dim = {Dim}")
            : SampleSize < Patches.Size ? ("sample_size", $"is {SampleSize}; it must be at least {Patches.Size}")
            : PatchSize != Patches.Size ? ("patch_size", $"is {PatchSize}; it must be {Patches.Size}")
            : QkNorm != "rms_norm" ? ("qk_norm", $"is {QkNorm ?? "null"}; it must be rms_norm")
            : PosEmbedType != "sincos" ? ("pos_embed_type", $"is {PosEmbedType ?? "null"}; it must be sincos")
            : TempPosEmbedType is not ("rope" or "sincos") ? ("temp_pos_embed_type", $"is {TempPosEmbedType ?? "null"}; it must be rope or sincos")
            : ("", "");
        return key.Length == 0 ? this : throw ConfigFile.Fault(file, key, fault);
    }
}

/// <summary>How an MMDiT encodes the latent frame of a token.</summary>
internal enum TimePositions
{
    /// <summary>Only by the causal mask.</summary>
    None,

    /// <summary>By rotating queries and keys (<c>rope</c>), as in the released models.</summary>
    Rotary,

    /// <summary>By a table that is added to the embeddings (<c>sincos</c>).</summary>
    SinCos,
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(PyramidMmditConfig))]
internal sealed partial class Sd3Json : JsonSerializerContext;
