using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace PyramidFlow.Cli.Output;

/// <summary>JSON for scripts.</summary>
internal static class JsonText
{
    /// <summary>What is written, as text.</summary>
    /// <param name="write">Writes one value.</param>
    /// <param name="indented">Whether on lines of its own, or all on one.</param>
    public static string Of(Action<Utf8JsonWriter> write, bool indented = true)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = indented, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            write(json);
        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    /// <summary>A property that is a list of strings.</summary>
    public static void Strings(this Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (var value in values)
            json.WriteStringValue(value);
        json.WriteEndArray();
    }
}
