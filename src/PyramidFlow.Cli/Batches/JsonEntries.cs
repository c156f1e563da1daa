using System.Text.Json;
using PyramidFlow.Cli.Parsing;

namespace PyramidFlow.Cli.Batches;

/// <summary>Elements of a JSON list, or of an object whose keys name them.</summary>
internal static class JsonEntries
{
    /// <exception cref="UsageException">It is not JSON, or neither list nor object.</exception>
    public static List<BatchEntry> Of(string path, ReadOnlySpan<byte> bytes)
    {
        if (!bytes.ContainsAnyExcept(" \t\r\n"u8))
            return [];
        try
        {
            return Read(path, bytes);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new UsageException($"{path} is not JSON: {(e is JsonException json ? $"line {json.LineNumber + 1}, {WrittenJson.Reason(json)}" : "it is not UTF-8 text, save it as UTF-8")}", e);
        }
    }

    private static List<BatchEntry> Read(string path, ReadOnlySpan<byte> bytes)
    {
        var reader = new Utf8JsonReader(bytes, WrittenJson.ReaderOptions);
        reader.Read();
        if (reader.TokenType is not (JsonTokenType.StartArray or JsonTokenType.StartObject))
            throw new UsageException($"{path} holds one value: write a list of prompts, [\"a red ball\"], or an object of names and prompts");
        var entries = new List<BatchEntry>();
        var keys = new HashSet<string>();
        var (line, counted, keyStart, isRepeated) = (1, 0, -1, false);
        while (reader.Read() && reader.TokenType is not (JsonTokenType.EndArray or JsonTokenType.EndObject))
        {
            var start = (int)reader.TokenStartIndex;
            if (reader.TokenType == JsonTokenType.PropertyName)
            {
                (keyStart, isRepeated) = (start, !keys.Add(reader.GetString()!));
                continue;
            }

            var first = keyStart < 0 ? start : keyStart;
            line += bytes[counted..first].Count((byte)'\n');
            counted = first;
            reader.Skip();
            entries.Add(new BatchEntry(line, start, (int)reader.BytesConsumed - start, keyStart, isRepeated));
        }

        reader.Read();
        return entries;
    }
}
