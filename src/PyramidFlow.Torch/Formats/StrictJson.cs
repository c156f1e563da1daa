using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace PyramidFlow.Torch.Formats;

/// <summary>Extensions of standard JSON that are accepted.</summary>
/// <param name="Written">Whether people write it by hand: comments and trailing commas are accepted, and errors name their line.</param>
/// <param name="RepeatedKeys">Whether an object may repeat a key; the last one counts.</param>
internal readonly record struct StrictJsonOptions(bool Written = false, bool RepeatedKeys = false);

/// <summary>
/// Parses JSON from outside the program. Unpaired surrogates are refused, so <see cref="JsonElement.GetString"/> never fails on a
/// string of the result. Numbers are read as by the released system: <c>7.0</c> is an integer. NaN, Infinity and -Infinity become
/// objects with one reserved key: harmless in a value that nobody reads, and refused where a number, a string or a list is expected.
/// </summary>
internal static class StrictJson
{
    /// <summary>Reader options for files that people write: comments and trailing commas are accepted.</summary>
    public static readonly JsonReaderOptions WrittenReader = new() { AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip };

    /// <summary>The fault in an exception of System.Text.Json, without its position.</summary>
    public static string Reason(JsonException e)
    {
        var where = new[] { " Path:", " LineNumber:" }.Select(mark => e.Message.IndexOf(mark, StringComparison.Ordinal)).Where(at => at >= 0);
        return e.Message[..where.DefaultIfEmpty(e.Message.Length).Min()].TrimEnd('.', ' ');
    }

    /// <summary>Parses a document.</summary>
    /// <param name="utf8">The bytes; a byte order mark is accepted.</param>
    /// <param name="options">Accepted extensions.</param>
    /// <exception cref="MalformedTextException">It is not UTF-8, not JSON, has an unpaired surrogate or repeats a key.</exception>
    public static JsonDocument Parse(ReadOnlyMemory<byte> utf8, StrictJsonOptions options = default)
    {
        StrictText.Check(utf8.Span);
        utf8 = StandardNumbers(utf8[(utf8.Length - StrictText.WithoutMark(utf8.Span).Length)..], options);
        try
        {
            Check(utf8.Span, options);
            return JsonDocument.Parse(utf8, options.Written
                ? new JsonDocumentOptions { AllowTrailingCommas = WrittenReader.AllowTrailingCommas, CommentHandling = WrittenReader.CommentHandling }
                : default);
        }
        catch (JsonException e)
        {
            throw NotJson(e, options);
        }
    }

    /// <summary>Parses a document from a string.</summary>
    /// <param name="text">The text.</param>
    /// <param name="options">Accepted extensions.</param>
    /// <exception cref="MalformedTextException">It is not JSON, has an unpaired surrogate or repeats a key.</exception>
    public static JsonDocument Parse(string text, StrictJsonOptions options = default) => StrictText.IsWhole(text)
        ? Parse(Encoding.UTF8.GetBytes(text), options)
        : throw new MalformedTextException(0, $"this {StrictText.HalfCharacter}");

    /// <summary>Parses a document into a record. Refuses a null where the record has no nullable property.</summary>
    /// <param name="utf8">The bytes; a byte order mark is accepted.</param>
    /// <param name="type">Source-generated description of the record.</param>
    /// <param name="options">Accepted extensions.</param>
    /// <exception cref="MalformedTextException">It is not valid JSON, or a value has the wrong type; the message names the key and the expected type.</exception>
    public static T Deserialize<T>(ReadOnlyMemory<byte> utf8, JsonTypeInfo<T> type, StrictJsonOptions options = default)
    {
        using var json = Parse(utf8, options);
        try
        {
            return Deserialize(options.Written ? Plain(json.RootElement) : json.RootElement, type);
        }
        catch (MalformedTextException e) when (options.Written && e.Key is { Length: > 0 })
        {
            throw new MalformedTextException(LineOf(utf8, e.Key), e.Reason, e.Key, e.InnerException);
        }
    }

    /// <summary>Parses a string into a record. Refuses a null where the record has no nullable property.</summary>
    /// <param name="text">The text.</param>
    /// <param name="type">Source-generated description of the record.</param>
    /// <exception cref="MalformedTextException">It is not valid JSON, has an unpaired surrogate, or a value has the wrong type; the message names the key and the expected type.</exception>
    public static T Deserialize<T>(string text, JsonTypeInfo<T> type)
    {
        using var json = Parse(text);
        return Deserialize(json.RootElement, type);
    }

    /// <summary>The line of a key, from 1; of its nearest existing parent if the key does not exist.</summary>
    /// <param name="utf8">A document that <see cref="Parse(ReadOnlyMemory{byte}, StrictJsonOptions)"/> accepts as written by hand.</param>
    /// <param name="key">A key such as <c>data.sizes[0]</c>.</param>
    public static long LineOf(ReadOnlyMemory<byte> utf8, string key)
    {
        var options = new StrictJsonOptions(Written: true);
        var json = StandardNumbers(utf8[(utf8.Length - StrictText.WithoutMark(utf8.Span).Length)..], options).Span;
        return StrictText.LineOf(json, JsonPosition.Find(json, key));
    }

    /// <summary>Converts a parsed element to a record. Refuses a null where the record has no nullable property.</summary>
    /// <param name="json">An element from <see cref="Parse(ReadOnlyMemory{byte}, StrictJsonOptions)"/>.</param>
    /// <param name="type">Source-generated description of the record.</param>
    /// <exception cref="MalformedTextException">A value has the wrong type; the message names the key and the expected type.</exception>
    public static T Deserialize<T>(JsonElement json, JsonTypeInfo<T> type)
    {
        JsonShape.CheckNulls(json, type, "");
        try
        {
            return json.Deserialize(type) ?? throw new MalformedTextException(0, $"this is null: it is {JsonShape.Expected(type)}");
        }
        catch (JsonException e)
        {
            throw JsonShape.Wrong(json, type, e);
        }
    }

    /// <summary>Positions of the keys and values of an object, so that single values can be replaced without other changes.</summary>
    /// <param name="utf8">An object that <see cref="Parse(ReadOnlyMemory{byte}, StrictJsonOptions)"/> accepts, without comments.</param>
    /// <returns>The name of each key and the ranges of key and value.</returns>
    public static IReadOnlyList<(string Name, Range Key, Range Value)> Members(ReadOnlySpan<byte> utf8) => JsonPosition.Members(utf8);

    // An element keeps its original text, and the deserialiser of a record may accept neither comments nor trailing commas.
    private static JsonElement Plain(JsonElement written)
    {
        using var plain = new MemoryStream();
        using (var writer = new Utf8JsonWriter(plain))
            written.WriteTo(writer);
        return JsonElement.Parse(plain.ToArray());
    }

    private static void Check(ReadOnlySpan<byte> utf8, StrictJsonOptions options)
    {
        var reader = new Utf8JsonReader(utf8, options.Written ? WrittenReader : default);
        var keys = new Stack<HashSet<string>?>();
        string? key = null;
        while (reader.Read())
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.StartObject:
                    keys.Push(options.RepeatedKeys ? null : new HashSet<string>(StringComparer.Ordinal));
                    break;
                case JsonTokenType.EndObject:
                    keys.Pop();
                    break;
                case JsonTokenType.PropertyName:
                    key = Whole(ref reader, utf8, options, null);
                    if (keys.Peek()?.Add(key) == false)
                        throw new MalformedTextException(Line(utf8, reader.TokenStartIndex, options), $"the key {StrictText.OneLine(key)} stands twice in one object: leave one of them", key);
                    break;
                case JsonTokenType.String when reader.ValueIsEscaped:
                    if (Whole(ref reader, utf8, options, key).Contains('\0', StringComparison.Ordinal) && options.Written)
                        throw new MalformedTextException(Line(utf8, reader.TokenStartIndex, options), $"{(key is null ? "this" : StrictText.OneLine(key))} holds a NUL character: leave it out", key);
                    break;
            }
        }
    }

    private static string Whole(ref Utf8JsonReader reader, ReadOnlySpan<byte> utf8, StrictJsonOptions options, string? key)
    {
        try
        {
            return reader.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw new MalformedTextException(Line(utf8, reader.TokenStartIndex, options), (key is null ? "" : $"{StrictText.OneLine(key)}: ") + $"this {StrictText.HalfCharacter}", key, e);
        }
    }

    private static long Line(ReadOnlySpan<byte> utf8, long position, StrictJsonOptions options) => options.Written ? StrictText.LineOf(utf8, position) : 0;

    private static MalformedTextException NotJson(JsonException e, StrictJsonOptions options) =>
        new MalformedTextException(options.Written ? (e.LineNumber ?? 0) + 1 : 0, $"this is not JSON ({Reason(e)})", null, e);

    /// <summary>A value for an error message: its text, cut if it is long, or "an object" or "a list".</summary>
    /// <param name="value">An element from <see cref="Parse(ReadOnlyMemory{byte}, StrictJsonOptions)"/>.</param>
    public static string Shown(JsonElement value) => JsonShape.Shown(value);

    /// <summary>Key of the object that replaces NaN or an infinity.</summary>
    internal const string NoNumber = "no number";

    private static ReadOnlySpan<byte> NoNumberStart => "{\"no number\":\""u8;

    // Rewrites numbers that the json module of Python writes and System.Text.Json does not read; line numbers stay the same.
    private static ReadOnlyMemory<byte> StandardNumbers(ReadOnlyMemory<byte> json, StrictJsonOptions options)
    {
        var utf8 = json.Span;
        if (utf8.IndexOf("NaN"u8) < 0 && utf8.IndexOf("Infinity"u8) < 0 && utf8.IndexOf(".0"u8) < 0)
            return json;
        using var standard = new MemoryStream(utf8.Length + 64);
        for (var i = 0; i < utf8.Length;)
        {
            var length = TokenLength(utf8[i..], options);
            var token = utf8.Slice(i, length);
            if (token.SequenceEqual("NaN"u8) || token.SequenceEqual("Infinity"u8) || token.SequenceEqual("-Infinity"u8))
            {
                standard.Write(NoNumberStart);
                standard.Write(token);
                standard.Write("\"}"u8);
            }
            else
            {
                standard.Write(IsWholeWithPoint(token) ? token[..token.IndexOf((byte)'.')] : token);
            }

            i += length;
        }

        return standard.ToArray();
    }

    // Length of a string, a comment, a run of letters and digits, or one other byte.
    private static int TokenLength(ReadOnlySpan<byte> utf8, StrictJsonOptions options)
    {
        if (utf8[0] == '"')
        {
            for (var i = 1; i < utf8.Length; i++)
            {
                if (utf8[i] == '\\')
                    i++;
                else if (utf8[i] == '"')
                    return i + 1;
            }

            return utf8.Length;
        }

        if (options.Written && utf8.StartsWith("//"u8))
            return utf8.IndexOf((byte)'\n') is >= 0 and var end ? end : utf8.Length;
        if (options.Written && utf8.StartsWith("/*"u8))
            return utf8[2..].IndexOf("*/"u8) is >= 0 and var close ? close + 4 : utf8.Length;
        var word = 0;
        while (word < utf8.Length && (char.IsAsciiLetterOrDigit((char)utf8[word]) || utf8[word] is (byte)'-' or (byte)'+' or (byte)'.'))
            word++;
        return Math.Max(word, 1);
    }

    private static bool IsWholeWithPoint(ReadOnlySpan<byte> token)
    {
        var point = token.IndexOf((byte)'.');
        return point > 0 && point < token.Length - 1 && char.IsAsciiDigit((char)token[point - 1]) && token[(point + 1)..].IndexOfAnyExcept((byte)'0') < 0;
    }
}

/// <summary>Finds positions in the bytes of a valid document.</summary>
internal static class JsonPosition
{
    /// <summary>Position of the key or item of a path such as <c>data.sizes[0]</c>, or of its last existing parent.</summary>
    public static int Find(ReadOnlySpan<byte> json, string path)
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

    /// <summary>Ranges of the keys and values of an object.</summary>
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
