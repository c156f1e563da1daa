using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace PyramidFlow.Torch.Formats;

/// <summary>JSON for people and scripts: characters of other scripts stand as they are, not as escapes.</summary>
public static class ReadableJson
{
    /// <summary>What is written, as a text.</summary>
    /// <param name="write">Writes one value.</param>
    /// <param name="indented">Whether on several lines.</param>
    public static string Write(Action<Utf8JsonWriter> write, bool indented = false)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = indented, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            write(json);
        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }
}
