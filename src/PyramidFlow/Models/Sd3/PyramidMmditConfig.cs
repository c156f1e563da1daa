using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Hub;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models;

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
public sealed record PyramidMmditConfig(
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
    public int Blocks => NumLayers;

    /// <inheritdoc/>
    [JsonIgnore]
    public long LatentChannels => InChannels;

    /// <inheritdoc/>
    [JsonIgnore]
    public int? MaxPatches => PosEmbedMaxSize;

    /// <summary>How it knows the latent frame of a token.</summary>
    [JsonIgnore]
    public TimePositions Time => !AddTempPosEmbed ? TimePositions.None
        : TempPosEmbedType == "rope" ? TimePositions.Rotary : TimePositions.SinCos;

    /// <summary>Reads and checks the <c>config.json</c> of a checkpoint.</summary>
    /// <exception cref="CheckpointException">The file is missing, no JSON, or a key is missing or impossible; names file and key.</exception>
    public static PyramidMmditConfig Load(string path) =>
        // The released system sets these whatever the file says, and so its weights were trained with them.
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
    public PyramidTransformer Build(AttentionSettings? attention = null) => new PyramidMmdit(this) { Attention = attention ?? new AttentionSettings() };

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

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(PyramidMmditConfig))]
internal sealed partial class Sd3Json : JsonSerializerContext;
