using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Hub;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models;

/// <summary>Sizes of a <see cref="PyramidFlux"/>, as in the <c>config.json</c> of a released checkpoint.</summary>
/// <param name="InChannels">Channels of one token: 4 x the latent channels, for 2x2 patches are cut whatever <paramref name="PatchSize"/> says.</param>
/// <param name="NumLayers">Number of double-stream blocks.</param>
/// <param name="NumSingleLayers">Number of single-stream blocks.</param>
/// <param name="AttentionHeadDim">Width of one attention head; even.</param>
/// <param name="NumAttentionHeads">Attention heads; the model is heads x head width wide.</param>
/// <param name="JointAttentionDim">Width of the text tokens.</param>
/// <param name="PooledProjectionDim">Width of the pooled text vector.</param>
/// <param name="AxesDimsRope">Features of a head that turn with time, height and width; even, together the head width; null is 16, 24, 24.</param>
/// <param name="UseTemporalCausal">Whether a latent frame attends to itself and earlier ones only.</param>
/// <param name="PatchSize">Always 1 in this family (the released files say so though patches are 2x2).</param>
public sealed record PyramidFluxConfig(
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
    /// <summary>Features of a head that turn with time, height and width.</summary>
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
    public PyramidTransformer Build(AttentionSettings? attention = null) => new PyramidFlux(this) { Attention = attention ?? new AttentionSettings() };

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
        var fault =
            InChannels < 4 || InChannels % 4 != 0 ? $"in_channels {InChannels} is not a positive multiple of 4"
            : NumLayers < 0 ? $"num_layers {NumLayers} is negative"
            : NumSingleLayers < 0 ? $"num_single_layers {NumSingleLayers} is negative"
            : NumLayers + NumSingleLayers == 0 ? "num_layers and num_single_layers are both 0"
            : AttentionHeadDim < 2 || AttentionHeadDim % 2 != 0 ? $"attention_head_dim {AttentionHeadDim} is not a positive even number"
            : NumAttentionHeads < 1 ? $"num_attention_heads {NumAttentionHeads} is less than 1"
            : JointAttentionDim < 1 ? $"joint_attention_dim {JointAttentionDim} is less than 1"
            : PooledProjectionDim < 1 ? $"pooled_projection_dim {PooledProjectionDim} is less than 1"
            : PatchSize != 1 ? $"patch_size {PatchSize} is not 1"
            : AxesDimsRope.Count != 3 || AxesDimsRope.Any(d => d < 0 || d % 2 != 0) || AxesDimsRope.Sum() != AttentionHeadDim
                ? $"axes_dims_rope [{string.Join(", ", AxesDimsRope)}] is not three even numbers that add up to attention_head_dim {AttentionHeadDim}"
            : null;
        return fault is null ? this : throw new CheckpointException($"{name}: {fault}");
    }
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(PyramidFluxConfig))]
internal sealed partial class FluxJson : JsonSerializerContext;
