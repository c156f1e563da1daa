using System.Text.Json;
using PyramidFlow.Torch.Formats;

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
        catch (JsonException e)
        {
            throw new UsageException($"{path} is not JSON: line {e.LineNumber + 1}, {StrictJson.Reason(e)}", e);
        }
    }

    /// <summary>The name that a reader stands at; null where it is no text.</summary>
    public static string? Name(ref Utf8JsonReader reader)
    {
        try
        {
            return reader.GetString();
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    private static List<BatchEntry> Read(string path, ReadOnlySpan<byte> bytes)
    {
        var reader = new Utf8JsonReader(bytes, StrictJson.WrittenReader);
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
                (keyStart, isRepeated) = (start, Name(ref reader) is { } name && !keys.Add(name));
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
