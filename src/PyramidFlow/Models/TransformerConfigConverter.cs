using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Hub;

namespace PyramidFlow.Models;

/// <summary>
/// A transformer of either family inside another JSON file, told apart by its keys. Values are taken as they stand; whoever
/// reads the file checks them (<see cref="TransformerConfigs.Parse"/>), for it knows the file's name.
/// </summary>
public sealed class TransformerConfigConverter : JsonConverter<ITransformerConfig>
{
    /// <inheritdoc/>
    public override ITransformerConfig Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        using var document = JsonDocument.ParseValue(ref reader);
        var json = document.RootElement;
        return ModelFamilies.Parse(JsonSerializer.SerializeToUtf8Bytes(json, TransformerJson.Default.JsonElement), "the transformer") switch
        {
            ModelFamily.Flux => json.Deserialize(TransformerJson.Default.PyramidFluxConfig)!,
            _ => json.Deserialize(TransformerJson.Default.PyramidMmditConfig)!,
        };
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, ITransformerConfig value, JsonSerializerOptions options) =>
        writer.WriteRawValue(value.ToJson());
}
