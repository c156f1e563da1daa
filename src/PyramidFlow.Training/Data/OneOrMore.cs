using System.Text.Json;
using System.Text.Json.Serialization;

namespace PyramidFlow.Training.Data;

/// <summary>A text, or a list of texts.</summary>
internal sealed class OneOrMore : JsonConverter<IReadOnlyList<string>>
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String)
            return [reader.GetString()!];
        var all = new List<string>();
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new JsonException("use a text, or a list of texts");
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            all.Add(reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw new JsonException("use a list of texts"));
        return all;
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, IReadOnlyList<string> value, JsonSerializerOptions options)
    {
        writer.WriteStartArray();
        foreach (var text in value)
            writer.WriteStringValue(text);
        writer.WriteEndArray();
    }
}
