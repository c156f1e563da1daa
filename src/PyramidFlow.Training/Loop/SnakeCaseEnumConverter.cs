using System.Text.Json;
using System.Text.Json.Serialization;

namespace PyramidFlow.Training.Loop;

/// <summary>Reads an enumeration's value by its name, as configurations write it; what is none of the names is answered with all of them.</summary>
/// <typeparam name="T">The enumeration.</typeparam>
/// <param name="names">Each name there is, the one to show first for each value; upper and lower case are the same.</param>
public abstract class NamedEnumConverter<T>(IReadOnlyList<(string Name, T Value)> names) : JsonConverter<T>
    where T : struct, Enum
{
    /// <inheritdoc/>
    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        var text = reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
        foreach (var (name, value) in names)
        {
            if (name.Equals(text, StringComparison.OrdinalIgnoreCase))
                return value;
        }

        throw new JsonException($"it is one of {string.Join(", ", names.DistinctBy(name => name.Value).Select(name => $"\"{name.Name}\""))}");
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options)
    {
        foreach (var (name, known) in names)
        {
            if (EqualityComparer<T>.Default.Equals(known, value))
            {
                writer.WriteStringValue(name);
                return;
            }
        }

        throw new JsonException($"{value} has no name");
    }
}

/// <summary>Names in snake case, such as <c>linear_second_half</c>.</summary>
/// <typeparam name="T">The enumeration.</typeparam>
public sealed class SnakeCaseEnumConverter<T>() : NamedEnumConverter<T>([.. Enum.GetValues<T>().Select(value => (JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString()), value))])
    where T : struct, Enum;

/// <summary>Names as they stand in the program, such as <c>AdamW</c>.</summary>
/// <typeparam name="T">The enumeration.</typeparam>
public sealed class PlainEnumConverter<T>() : NamedEnumConverter<T>([.. Enum.GetValues<T>().Select(value => (value.ToString(), value))])
    where T : struct, Enum;
