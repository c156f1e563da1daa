using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace PyramidFlow.Torch.Formats;

/// <summary>What a kind of JSON lets pass beyond the standard.</summary>
/// <param name="Written">Whether people write it by hand: comments and trailing commas are let pass, and faults tell their line.</param>
/// <param name="RepeatedKeys">Whether a key may stand twice in an object; the last one counts.</param>
public readonly record struct StrictJsonOptions(bool Written = false, bool RepeatedKeys = false);

/// <summary>
/// JSON from outside the program. What is returned holds whole characters only, so <see cref="JsonElement.GetString"/> of a string and the name of
/// a property never fail. Numbers are read as the released system's reader takes them: <c>7.0</c> is a whole number, and the
/// words NaN, Infinity and -Infinity become objects of one odd key, which pass where nobody uses the key and are refused where a number, a text or a list is asked for.
/// </summary>
public static class StrictJson
{
    /// <summary>Options of a reader for files that people write: comments and trailing commas are let pass.</summary>
    public static readonly JsonReaderOptions WrittenReader = new() { AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip };

    /// <summary>What the runtime's JSON says is wrong, without where.</summary>
    public static string Reason(JsonException e)
    {
        var where = new[] { " Path:", " LineNumber:" }.Select(mark => e.Message.IndexOf(mark, StringComparison.Ordinal)).Where(at => at >= 0);
        return e.Message[..where.DefaultIfEmpty(e.Message.Length).Min()].TrimEnd('.', ' ');
    }

    /// <summary>Parses a document.</summary>
    /// <param name="utf8">The bytes; a byte order mark is let pass.</param>
    /// <param name="options">What is let pass.</param>
    /// <exception cref="MalformedTextException">It is not UTF-8, not JSON, has half of a surrogate pair or a key twice.</exception>
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

    /// <summary>Parses a document from text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="options">What is let pass.</param>
    /// <exception cref="MalformedTextException">It is not JSON, has half of a surrogate pair or a key twice.</exception>
    public static JsonDocument Parse(string text, StrictJsonOptions options = default) => StrictText.IsWhole(text)
        ? Parse(Encoding.UTF8.GetBytes(text), options)
        : throw new MalformedTextException(0, $"this {StrictText.HalfCharacter}");

    /// <summary>Parses a document into a record. A null where the record takes none is refused.</summary>
    /// <param name="utf8">The bytes; a byte order mark is let pass.</param>
    /// <param name="type">Source-generated description of the record.</param>
    /// <param name="options">What is let pass.</param>
    /// <exception cref="MalformedTextException">It is not such JSON, or a value is of the wrong kind; the message names the key and what is allowed.</exception>
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

    /// <summary>Parses a text into a record. A null where the record takes none is refused.</summary>
    /// <param name="text">The text.</param>
    /// <param name="type">Source-generated description of the record.</param>
    /// <exception cref="MalformedTextException">It is not such JSON, has half of a surrogate pair, or a value is of the wrong kind; the message names the key and what is allowed.</exception>
    public static T Deserialize<T>(string text, JsonTypeInfo<T> type)
    {
        using var json = Parse(text);
        return Deserialize(json.RootElement, type);
    }

    /// <summary>The line at which the value of a key stands, from 1; the nearest one around it where it stands nowhere.</summary>
    /// <param name="utf8">A document that <see cref="Parse(ReadOnlyMemory{byte}, StrictJsonOptions)"/> reads as one that people write.</param>
    /// <param name="key">A key such as <c>data.sizes[0]</c>.</param>
    public static long LineOf(ReadOnlyMemory<byte> utf8, string key)
    {
        var options = new StrictJsonOptions(Written: true);
        var json = StandardNumbers(utf8[(utf8.Length - StrictText.WithoutMark(utf8.Span).Length)..], options).Span;
        return StrictText.LineOf(json, JsonPlace.Of(json, key));
    }

    /// <summary>Turns a parsed element into a record. A null where the record takes none is refused.</summary>
    /// <param name="json">An element that <see cref="Parse(ReadOnlyMemory{byte}, StrictJsonOptions)"/> made.</param>
    /// <param name="type">Source-generated description of the record.</param>
    /// <exception cref="MalformedTextException">A value is of the wrong kind; the message names the key and what is allowed.</exception>
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

    /// <summary>The keys and values of an object as they are written, so that it can be written again with nothing else changed.</summary>
    /// <param name="utf8">An object that <see cref="Parse(ReadOnlyMemory{byte}, StrictJsonOptions)"/> reads, without comments.</param>
    /// <returns>The name of each key, and where key and value stand.</returns>
    public static IReadOnlyList<(string Name, Range Key, Range Value)> Members(ReadOnlySpan<byte> utf8) => JsonPlace.Members(utf8);

    // An element holds its text as it was written; a record's reader may take neither comments nor trailing commas.
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

    /// <summary>A value as it is written, for an error; a long one is cut, and of an object or list only the kind is told.</summary>
    /// <param name="value">An element that <see cref="Parse(ReadOnlyMemory{byte}, StrictJsonOptions)"/> made.</param>
    public static string Shown(JsonElement value) => JsonShape.Shown(value);

    /// <summary>The key of the object that stands for NaN or an infinity.</summary>
    internal const string NoNumber = "no number";

    private static ReadOnlySpan<byte> NoNumberStart => "{\"no number\":\""u8;

    // Rewrites what Python's json module writes and System.Text.Json does not read, in numbers only; the lines stay.
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

    // A string, a comment, a run of letters and digits, or one other byte.
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
