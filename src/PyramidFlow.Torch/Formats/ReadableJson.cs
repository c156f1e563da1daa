using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace PyramidFlow.Torch.Formats;

/// <summary>
/// Writes JSON that people read as well: letters of all languages stay as they are instead of <c>\u00e4</c>. Not for JSON inside
/// HTML, where <c>&lt;</c> needs an escape.
/// </summary>
internal static class ReadableJson
{
    private static readonly JavaScriptEncoder Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>Writes a document with a writer.</summary>
    /// <param name="write">Writes one value.</param>
    /// <param name="indented">Whether the document has several lines.</param>
    public static string Write(Action<Utf8JsonWriter> write, bool indented = false)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = indented, Encoder = Encoder }))
            write(json);
        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    /// <summary>Writes a record.</summary>
    /// <param name="value">The record.</param>
    /// <param name="type">Source-generated description of the record; its options decide about indentation.</param>
    public static string Serialize<T>(T value, JsonTypeInfo<T> type) =>
        Write(json => JsonSerializer.Serialize(json, value, type), type.Options.WriteIndented);

    /// <summary>Writes a string with its quotes.</summary>
    public static string Quote(string text) => $"\"{Encoder.Encode(text)}\"";
}
