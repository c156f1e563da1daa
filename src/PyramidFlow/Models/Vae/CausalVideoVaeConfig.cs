using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>A causal video VAE's <c>config.json</c>. Lists have one entry per level; the encoder's coarsest level is the last.</summary>
/// <param name="EncoderOutChannels">Channels of the latents.</param>
/// <param name="EncoderBlockOutChannels">Widths of the encoder's levels.</param>
/// <param name="EncoderLayersPerBlock">Residual blocks of each encoder level.</param>
/// <param name="EncoderSpatialDownSample">Whether a level halves height and width.</param>
/// <param name="EncoderTemporalDownSample">Whether a level halves the frames.</param>
/// <param name="EncoderNormNumGroups">Groups of the encoder's norms.</param>
/// <param name="DecoderBlockOutChannels">Widths of the decoder's levels, finest first: it runs through them backwards.</param>
/// <param name="DecoderLayersPerBlock">Residual blocks of each decoder level, coarsest first.</param>
/// <param name="DecoderSpatialUpSample">Whether a level doubles height and width, coarsest first.</param>
/// <param name="DecoderTemporalUpSample">Whether a level doubles the frames, coarsest first.</param>
/// <param name="DecoderNormNumGroups">Groups of the decoder's norms.</param>
/// <param name="EncoderInChannels">Channels of the video.</param>
/// <param name="EncoderActFn">Activation of the encoder's residual blocks: silu, swish, mish, gelu or relu.</param>
/// <param name="DecoderInChannels">Channels of the latents again; null means the same.</param>
/// <param name="DecoderOutChannels">Channels of the decoded video.</param>
/// <param name="DecoderActFn">Activation of the decoder's residual blocks.</param>
/// <param name="Interpolate">Must be false: upsampling in this family moves channels into pixels.</param>
public sealed record CausalVideoVaeConfig(
    int EncoderOutChannels,
    IReadOnlyList<int> EncoderBlockOutChannels,
    IReadOnlyList<int> EncoderLayersPerBlock,
    IReadOnlyList<bool> EncoderSpatialDownSample,
    IReadOnlyList<bool> EncoderTemporalDownSample,
    int EncoderNormNumGroups,
    IReadOnlyList<int> DecoderBlockOutChannels,
    IReadOnlyList<int> DecoderLayersPerBlock,
    IReadOnlyList<bool> DecoderSpatialUpSample,
    IReadOnlyList<bool> DecoderTemporalUpSample,
    int DecoderNormNumGroups,
    int EncoderInChannels = 3,
    string EncoderActFn = "silu",
    int? DecoderInChannels = null,
    int DecoderOutChannels = 3,
    string DecoderActFn = "silu",
    bool Interpolate = false)
{
    /// <summary>Name of the network in <c>config.json</c>.</summary>
    public const string ClassName = "CausalVideoVAE";

    /// <summary>Pixels per latent position along each side, and frames per latent frame, in every VAE that pipelines work with.</summary>
    internal const int PipelineScale = 8;

    /// <summary>Keys of the file that the network does not use.</summary>
    [JsonExtensionData]
    [JsonInclude]
    public Dictionary<string, JsonElement>? Others { get; internal set; }

    /// <summary>The released VAE: 8x in space and time, 16 latent channels, 335 million weights.</summary>
    public static CausalVideoVaeConfig Released { get; } = Uniform([128, 256, 512, 512], encoderLayers: 2, decoderLayers: 3, latentChannels: 16, groups: 32);

    /// <summary>How many pixels one latent position spans in height and width.</summary>
    [JsonIgnore]
    public int SpatialScale => 1 << EncoderSpatialDownSample.Count(down => down);

    /// <summary>How many frames one latent frame spans; the first spans one.</summary>
    [JsonIgnore]
    public int TemporalScale => 1 << EncoderTemporalDownSample.Count(down => down);

    /// <summary>A network of the released layout with other widths: all levels but the last halve height, width and frames.</summary>
    /// <param name="widths">Widths of the levels, finest first.</param>
    /// <param name="encoderLayers">Residual blocks of an encoder level.</param>
    /// <param name="decoderLayers">Residual blocks of a decoder level.</param>
    /// <param name="latentChannels">Channels of the latents.</param>
    /// <param name="groups">Groups of all norms.</param>
    public static CausalVideoVaeConfig Uniform(IReadOnlyList<int> widths, int encoderLayers, int decoderLayers, int latentChannels, int groups)
    {
        bool[] halves = [.. widths.Select((_, i) => i < widths.Count - 1)];
        int[] Layers(int count) => [.. widths.Select(_ => count)];
        return new CausalVideoVaeConfig(latentChannels, widths, Layers(encoderLayers), halves, halves, groups,
            widths, Layers(decoderLayers), halves, halves, groups);
    }

    /// <summary>Reads and checks a <c>config.json</c>.</summary>
    /// <exception cref="CheckpointException">A key is missing or its value impossible; the message names file and key.</exception>
    public static CausalVideoVaeConfig Read(string path) => ConfigFile.Read(path, VaeJson.Default.CausalVideoVaeConfig).Check(path);

    /// <summary>Reads and checks a config in memory.</summary>
    /// <param name="utf8Json">The JSON object.</param>
    /// <param name="file">Name of the file in error messages.</param>
    /// <exception cref="CheckpointException">As <see cref="Read"/>.</exception>
    public static CausalVideoVaeConfig Parse(ReadOnlyMemory<byte> utf8Json, string file) =>
        ConfigFile.Parse(utf8Json, file, VaeJson.Default.CausalVideoVaeConfig).Check(file);

    /// <summary>The text of a <c>config.json</c>.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, VaeJson.Default.CausalVideoVaeConfig);

    private CausalVideoVaeConfig Check(string file)
    {
        ConfigFile.RequirePositive(file, ("encoder_out_channels", EncoderOutChannels), ("encoder_in_channels", EncoderInChannels),
            ("decoder_out_channels", DecoderOutChannels), ("encoder_norm_num_groups", EncoderNormNumGroups),
            ("decoder_norm_num_groups", DecoderNormNumGroups));
        if (DecoderInChannels is { } channels && channels != EncoderOutChannels)
            throw ConfigFile.Fault(file, "decoder_in_channels", $"is {channels}; it must be encoder_out_channels {EncoderOutChannels}");
        if (Interpolate)
            throw ConfigFile.Fault(file, "interpolate", "is true; only upsampling by moving channels into pixels exists");
        CheckSide(file, "encoder", EncoderBlockOutChannels, EncoderNormNumGroups, EncoderLayersPerBlock, EncoderActFn,
            ("encoder_spatial_down_sample", EncoderSpatialDownSample), ("encoder_temporal_down_sample", EncoderTemporalDownSample));
        CheckSide(file, "decoder", DecoderBlockOutChannels, DecoderNormNumGroups, DecoderLayersPerBlock, DecoderActFn,
            ("decoder_spatial_up_sample", DecoderSpatialUpSample), ("decoder_temporal_up_sample", DecoderTemporalUpSample));
        CheckSame(file, "decoder_spatial_up_sample", DecoderSpatialUpSample, EncoderSpatialDownSample);
        CheckSame(file, "decoder_temporal_up_sample", DecoderTemporalUpSample, EncoderTemporalDownSample);
        CheckBlocks(file, "encoder_down_block_types", "DownEncoderBlockCausal3D");
        CheckBlocks(file, "decoder_up_block_types", "UpDecoderBlockCausal3D");
        return this;
    }

    private static void CheckSide(string file, string side, IReadOnlyList<int> widths, int groups, IReadOnlyList<int> layers,
        string activation, params ReadOnlySpan<(string Key, IReadOnlyList<bool> Levels)> resampling)
    {
        var key = side + "_block_out_channels";
        if (widths is null || widths.Count == 0)
            throw ConfigFile.Fault(file, key, "is empty; it must hold the width of every level");
        foreach (var width in widths)
        {
            if (width <= 0 || width % groups != 0)
                throw ConfigFile.Fault(file, key, $"has {width}; every width must be a positive multiple of {side}_norm_num_groups {groups}");
        }

        if (layers is null || layers.Count != widths.Count || layers.Any(count => count < 1))
            throw ConfigFile.Fault(file, side + "_layers_per_block", $"must hold {widths.Count} positive numbers, one for each level");
        foreach (var (name, levels) in resampling)
        {
            if (levels is null || levels.Count != widths.Count)
                throw ConfigFile.Fault(file, name, $"must hold {widths.Count} values, one for each level");
        }

        if (activation is null || VaeActivation.Find(activation) is null)
            throw ConfigFile.Fault(file, side + "_act_fn", $"is {activation}; known activations are {VaeActivation.Known}");
    }

    private static void CheckSame(string file, string key, IReadOnlyList<bool> up, IReadOnlyList<bool> down)
    {
        if (up.Count(on => on) != down.Count(on => on))
            throw ConfigFile.Fault(file, key, $"doubles {up.Count(on => on)} times where the encoder halves {down.Count(on => on)} times");
    }

    private void CheckBlocks(string file, string key, string known)
    {
        if (Others is null || !Others.TryGetValue(key, out var types))
            return;
        if (types.ValueKind != JsonValueKind.Array
            || types.EnumerateArray().Any(t => t.ValueKind != JsonValueKind.String || t.GetString() != known))
            throw ConfigFile.Fault(file, key, $"is {types.GetRawText()}; every level must be a {known}");
    }
}

/// <summary>Source-generated reading of the VAE's config.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(CausalVideoVaeConfig))]
internal sealed partial class VaeJson : JsonSerializerContext;
