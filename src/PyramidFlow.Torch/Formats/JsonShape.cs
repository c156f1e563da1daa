using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace PyramidFlow.Torch.Formats;

/// <summary>Compares JSON with the record that it is read into, and describes the expected type of a key.</summary>
internal static class JsonShape
{
    /// <summary>Refuses a null in a property that is not annotated as nullable, or in a list.</summary>
    public static void CheckNulls(JsonElement json, JsonTypeInfo type, string key)
    {
        switch (json.ValueKind)
        {
            case JsonValueKind.Null when !TakesNull(type):
                throw Null(key, type);
            case JsonValueKind.Object when type.Kind == JsonTypeInfoKind.Object:
                foreach (var member in json.EnumerateObject())
                {
                    if (Property(type, member.Name) is not { } property)
                        continue;
                    if (property.CustomConverter is null)
                        CheckMember(member.Value, property, Inside(key, member.Name));
                    // System.Text.Json does not call a converter for the null of a reference type.
                    else if (member.Value.ValueKind == JsonValueKind.Null && !property.PropertyType.IsValueType && !property.IsSetNullable)
                        throw new MalformedTextException(0, $"{Inside(key, member.Name)} is null: leave it out, or give it a value", Inside(key, member.Name));
                }

                break;
            case JsonValueKind.Object when type.Kind == JsonTypeInfoKind.Dictionary && ElementOf(type) is { } value:
                foreach (var member in json.EnumerateObject())
                    CheckNulls(member.Value, value, Inside(key, member.Name));
                break;
            case JsonValueKind.Array when type.Kind == JsonTypeInfoKind.Enumerable && ElementOf(type) is { } item:
                foreach (var (i, element) in json.EnumerateArray().Index())
                    CheckNulls(element, item, $"{key}[{i}]");
                break;
        }
    }

    /// <summary>Describes the values of a type.</summary>
    public static string Expected(JsonTypeInfo type)
    {
        var plain = Nullable.GetUnderlyingType(type.Type) ?? type.Type;
        if (plain.IsEnum)
        {
            var named = plain == type.Type ? type : type.Options.GetTypeInfo(plain);
            return "one of " + string.Join(", ", Enum.GetValues(plain).Cast<object>().Select(value => JsonSerializer.Serialize(value, named).Trim('"')));
        }

        if (plain == typeof(string))
            return "a text in quotes";
        if (plain == typeof(bool))
            return "true or false";
        if (plain == typeof(float) || plain == typeof(double) || plain == typeof(decimal))
            return "a number";
        if (plain == typeof(int) || plain == typeof(long) || plain == typeof(short) || plain == typeof(byte))
            return "a whole number";
        if (plain == typeof(uint) || plain == typeof(ulong))
            return "a whole number from 0";
        return type.Kind switch
        {
            JsonTypeInfoKind.Enumerable when ElementOf(type) is { } item => $"a list, each item {Expected(item)}",
            JsonTypeInfoKind.Enumerable => "a list",
            _ => "an object in braces",
        };
    }

    /// <summary>Creates the error for a value that the serializer refused.</summary>
    public static MalformedTextException Wrong(JsonElement json, JsonTypeInfo root, JsonException e)
    {
        var key = (e.Path ?? "").TrimStart('$').TrimStart('.');
        // Messages of our converters and about required keys suit users; other messages of the serializer name C# types.
        if (e.Message.Contains("could not be converted", StringComparison.Ordinal) || e.InnerException is InvalidOperationException or FormatException)
        {
            var (type, value) = At(root, json, key);
            var written = value is { } found ? Shown(found) : "this";
            var expected = type is null ? "" : $": it is {Expected(type)}";
            return new MalformedTextException(0, key.Length == 0 ? $"this cannot be {written}{expected}" : $"{key} cannot be {written}{expected}", key, e);
        }

        var reason = StrictJson.Reason(e);
        if (Missing(reason) is { } names)
            reason = $"{names} is missing";
        return new MalformedTextException(0, key.Length == 0 ? reason : $"{key}: {reason}", key, e);
    }

    // "JSON deserialization for type 'X' was missing required properties including: 'a', 'b'."
    private static string? Missing(string reason)
    {
        const string Before = "including: ";
        var at = reason.IndexOf(Before, StringComparison.Ordinal);
        return at < 0 ? null : reason[(at + Before.Length)..].Replace("'", "", StringComparison.Ordinal);
    }

    private static void CheckMember(JsonElement value, JsonPropertyInfo property, string key)
    {
        var type = property.Options.GetTypeInfo(property.PropertyType);
        if (value.ValueKind != JsonValueKind.Null)
            CheckNulls(value, type, key);
        else if (!property.IsSetNullable || !TakesNull(type, item: false))
            throw Null(key, type);
    }

    private static MalformedTextException Null(string key, JsonTypeInfo type) =>
        new(0, $"{(key.Length == 0 ? "this" : key)} is null: it is {Expected(type)}", key);

    // Items of lists are never null in our files; a property of a reference type declares itself.
    private static bool TakesNull(JsonTypeInfo type, bool item = true) =>
        Nullable.GetUnderlyingType(type.Type) is not null || type.Type == typeof(JsonElement) || (!item && !type.Type.IsValueType);

    private static JsonTypeInfo? ElementOf(JsonTypeInfo type) => type.ElementType is { } element ? type.Options.GetTypeInfo(element) : null;

    private static JsonPropertyInfo? Property(JsonTypeInfo type, string name)
    {
        foreach (var property in type.Properties)
        {
            if (string.Equals(property.Name, name, type.Options.PropertyNameCaseInsensitive ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal))
                return property;
        }

        return null;
    }

    private static string Inside(string key, string name) => key.Length == 0 ? name : $"{key}.{name}";

    // Follows a path such as data.sizes[0] through the record and the JSON, as far as it exists in each.
    private static (JsonTypeInfo? Type, JsonElement? Value) At(JsonTypeInfo? type, JsonElement? value, string path)
    {
        foreach (var step in path.Split('.', '[', ']').Where(step => step.Length > 0))
        {
            if (type?.Kind == JsonTypeInfoKind.Object)
                type = Property(type, step) is { } property ? type.Options.GetTypeInfo(property.PropertyType) : null;
            else
                type = type is null ? null : ElementOf(type);
            value = value switch
            {
                { ValueKind: JsonValueKind.Object } found => found.TryGetProperty(step, out var member) ? member : null,
                { ValueKind: JsonValueKind.Array } found => int.TryParse(step, out var i) && i < found.GetArrayLength() ? found[i] : null,
                _ => null,
            };
        }

        return (type, value);
    }

    /// <summary>A value for an error message.</summary>
    public static string Shown(JsonElement value)
    {
        return StrictText.OneLine(value.ValueKind switch
        {
            JsonValueKind.Object when value.TryGetProperty(StrictJson.NoNumber, out var word) => word.ToString(),
            JsonValueKind.Object => "an object",
            JsonValueKind.Array => "a list",
            _ => value.GetRawText(),
        });
    }
}
