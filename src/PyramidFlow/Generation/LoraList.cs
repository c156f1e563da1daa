using System.Text.Json;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Generation;

/// <summary>LoRAs with their weights as people write them: <c>style</c>, <c>style:0.8; panda</c>, or JSON.</summary>
internal static class LoraList
{
    /// <summary>Stands between two LoRAs, and between a name and its weight.</summary>
    internal const char Between = ';', Weight = ':';

    private const string Form = "write a name, such as style, a name and a weight, such as style:0.8, or a list of names and of {\"name\": \"style\", \"weight\": 0.8}";
    private const string NameKey = "name", WeightKey = "weight";

    /// <summary>Reads names and weights with semicolons between them, or a text of JSON.</summary>
    /// <exception cref="FormatException">It is neither; says how LoRAs are written.</exception>
    public static IReadOnlyList<LoraUse> Parse(string text)
    {
        text = text.Trim();
        if (!IsJson(text))
            return [.. text.Split(Between).Select(One)];
        try
        {
            using var json = StrictJson.Parse(text);
            return Read(json.RootElement);
        }
        catch (MalformedTextException e)
        {
            throw new FormatException(e.IsNoJson ? Form : e.Reason, e);
        }
    }

    /// <summary>Reads an object, or a list of texts and objects.</summary>
    /// <exception cref="FormatException">It is of another form; says how LoRAs are written.</exception>
    public static IReadOnlyList<LoraUse> Read(JsonElement json) => json.ValueKind switch
    {
        JsonValueKind.Object => [Item(json)],
        JsonValueKind.Array => [.. json.EnumerateArray().Select(Item)],
        _ => throw new FormatException(Form),
    };

    /// <summary>A text that <see cref="Parse"/> reads.</summary>
    public static string Format(IReadOnlyList<LoraUse> loras) =>
        loras.Count > 0 && loras.All(lora => lora.Path.Length > 0 && lora.Path.Trim() == lora.Path && !IsJson(lora.Path) && !lora.Path.AsSpan().ContainsAny(Between, Weight))
            ? string.Join($"{Between} ", loras.Select(lora => lora.Weight == 1 ? lora.Path : FormattableString.Invariant($"{lora.Path}{Weight}{lora.Weight:R}")))
            : ReadableJson.Write(writer => Write(writer, loras));

    /// <summary>Writes a list of objects with <c>name</c> and <c>weight</c>.</summary>
    public static void Write(Utf8JsonWriter writer, IReadOnlyList<LoraUse> loras)
    {
        writer.WriteStartArray();
        foreach (var (name, weight) in loras)
        {
            writer.WriteStartObject();
            writer.WriteString(NameKey, name);
            writer.WriteNumber(WeightKey, weight);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static bool IsJson(string text) => text is ['[' or '{', ..];

    private static LoraUse Item(JsonElement item)
    {
        if (item.ValueKind == JsonValueKind.String)
            return One(SettingsTable.Words(item));
        if (item.ValueKind != JsonValueKind.Object || !item.TryGetProperty(NameKey, out var name) || item.EnumerateObject().Any(member => member.Name is not (NameKey or WeightKey)))
            throw new FormatException(Form);
        var weight = item.TryGetProperty(WeightKey, out var given) && given.ValueKind != JsonValueKind.Null
            ? Number(given.ValueKind is JsonValueKind.String or JsonValueKind.Number ? given.ToString() : "") : 1;
        return SettingsTable.Words(name) is { Length: > 0 } words ? new LoraUse(words, weight) : throw new FormatException(Form);
    }

    private static LoraUse One(string text)
    {
        text = text.Trim();
        var colon = text.LastIndexOf(Weight);
        var name = colon < 0 ? text : text[..colon].TrimEnd();
        return name.Length == 0 ? throw new FormatException(Form) : new LoraUse(name, colon < 0 ? 1 : Number(text[(colon + 1)..].Trim()));
    }

    private static double Number(string text) => PlainNumber.TryReal(text, out var weight) && double.IsFinite(weight) ? weight
        : throw new FormatException(PlainNumber.Advice(text) is { Length: > 0 } advice ? advice : $"a weight is a number: {Form}");
}
