using System.Text.Json;

namespace PyramidFlow.Torch.Formats;

/// <summary>Where values stand in the bytes of a document that was parsed before.</summary>
internal static class JsonPlace
{
    /// <summary>Position of the key or item at the end of a path such as <c>data.sizes[0]</c>, or of the last one on the way that is there.</summary>
    public static int Of(ReadOnlySpan<byte> json, string path)
    {
        var reader = new Utf8JsonReader(json, StrictJson.WrittenReader);
        reader.Read();
        var position = reader.TokenStartIndex;
        foreach (var step in path.Split('.', '[', ']').Where(step => step.Length > 0))
        {
            var found = reader.TokenType switch
            {
                JsonTokenType.StartObject => Member(ref reader, step, ref position),
                JsonTokenType.StartArray => int.TryParse(step, out var index) && Item(ref reader, index, ref position),
                _ => false,
            };
            if (!found)
                break;
        }

        return (int)position;
    }

    /// <summary>The keys and values of an object, as they are written; the object was parsed before.</summary>
    public static List<(string Name, Range Key, Range Value)> Members(ReadOnlySpan<byte> json)
    {
        var members = new List<(string, Range, Range)>();
        var i = SkipSpace(json, 0) + 1;
        while (json[i = SkipSpace(json, i)] != '}')
        {
            var key = i..EndOfString(json, i);
            var start = SkipSpace(json, SkipSpace(json, key.End.Value) + 1);
            var end = EndOfValue(json, start);
            var name = new Utf8JsonReader(json[key]);
            name.Read();
            members.Add((name.GetString()!, key, start..end));
            i = SkipSpace(json, end);
            if (json[i] == ',')
                i++;
        }

        return members;
    }

    private static bool Member(ref Utf8JsonReader reader, string name, ref long position)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var (found, at) = (reader.ValueTextEquals(name), reader.TokenStartIndex);
            reader.Read();
            if (found)
            {
                position = at;
                return true;
            }

            reader.Skip();
        }

        return false;
    }

    private static bool Item(ref Utf8JsonReader reader, int index, ref long position)
    {
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (index-- == 0)
            {
                position = reader.TokenStartIndex;
                return true;
            }

            reader.Skip();
        }

        return false;
    }

    private static int SkipSpace(ReadOnlySpan<byte> json, int i)
    {
        while (json[i] is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n')
            i++;
        return i;
    }

    private static int EndOfString(ReadOnlySpan<byte> json, int i)
    {
        for (i++; json[i] != '"'; i++)
        {
            if (json[i] == '\\')
                i++;
        }

        return i + 1;
    }

    private static int EndOfValue(ReadOnlySpan<byte> json, int i)
    {
        if (json[i] == '"')
            return EndOfString(json, i);
        if (json[i] is not ((byte)'{' or (byte)'['))
            return i + json[i..].IndexOfAny(", }\t\r\n"u8);
        for (var depth = 0; ; i++)
        {
            if (json[i] == '"')
                i = EndOfString(json, i) - 1;
            else if (json[i] is (byte)'{' or (byte)'[')
                depth++;
            else if (json[i] is (byte)'}' or (byte)']' && --depth == 0)
                return i + 1;
        }
    }
}
