using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Lora;

/// <summary>
/// What diffusers keeps in a LoRA file's metadata under <c>lora_adapter_metadata</c>: a JSON object with <c>r</c>,
/// <c>lora_alpha</c> and, for single layers, <c>alpha_pattern</c>, each under <c>transformer.</c>.
/// </summary>
internal sealed class LoraMetadata
{
    private const string Key = "lora_adapter_metadata", Prefix = "transformer.", Alpha = "lora_alpha", Patterns = "alpha_pattern", RootScale = "use_rslora";

    private readonly JsonObject values;

    private LoraMetadata(JsonObject values) => this.values = values;

    /// <summary>Metadata of a file in whose matrices the scale is multiplied: to its readers alpha is the rank.</summary>
    internal static Dictionary<string, string> Of(LoraConfig config) => new()
    {
        ["format"] = "pt",
        [Key] = new JsonObject
        {
            [Prefix + "r"] = config.Rank,
            [Prefix + Alpha] = config.Rank,
            [Prefix + "target_modules"] = new JsonArray([.. config.Targets.Select(target => JsonValue.Create(target))]),
        }.ToJsonString(),
    };

    /// <summary>What a file says; nothing where it is no safetensors file or says it otherwise.</summary>
    internal static LoraMetadata Read(string path)
    {
        if (!Path.GetExtension(path).Equals(".safetensors", StringComparison.OrdinalIgnoreCase))
            return new LoraMetadata([]);
        using var file = SafetensorsFile.Open(path);
        try
        {
            return new LoraMetadata(file.Metadata.TryGetValue(Key, out var text) && JsonNode.Parse(text) is JsonObject values ? values : []);
        }
        catch (JsonException)
        {
            // Somebody else's words under the same name.
            return new LoraMetadata([]);
        }
    }

    /// <summary>How much the product of a layer's matrices counts.</summary>
    /// <param name="layer">Key of the layer.</param>
    /// <param name="rank">Rank of its matrices.</param>
    internal double Scale(string layer, long rank)
    {
        var alpha = OfLayer(layer) ?? Number(values[Prefix + Alpha]) ?? rank;
        return alpha / (values[Prefix + RootScale] is JsonValue root && root.TryGetValue<bool>(out var isRoot) && isRoot ? Math.Sqrt(rank) : rank);
    }

    private double? OfLayer(string layer) => values[Prefix + Patterns] is JsonObject patterns
        ? patterns.Where(p => layer == p.Key || layer.EndsWith("." + p.Key, StringComparison.Ordinal)).Select(p => Number(p.Value)).FirstOrDefault()
        : null;

    private static double? Number(JsonNode? node) =>
        node is JsonValue value && double.TryParse(value.ToString(), CultureInfo.InvariantCulture, out var number) ? number : null;
}
