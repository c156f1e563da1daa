using System.Text.Json;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>Reads the files of a tokenizer folder; all errors name the file.</summary>
internal static class TokenizerFile
{
    // Real vocabularies are a few MB; the largest multilingual one in use is under 20 MB.
    private const long MaxBytes = 32 << 20;

    /// <summary>Reads a file and parses its bytes.</summary>
    public static T Read<T>(string path, Func<byte[], T> parse)
    {
        byte[] bytes;
        try
        {
            bytes = StrictText.ReadBytes(path, MaxBytes);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw CheckpointFault.Missing(path, e);
        }
        catch (MalformedTextException e)
        {
            throw CheckpointFault.TokenizerUnusable(path, e.Message, e);
        }

        return Named(path, () => parse(bytes));
    }

    /// <summary>Runs work on the content of a file; errors name the file.</summary>
    public static T Named<T>(string path, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (Exception e) when (e is MalformedTextException or InvalidDataException)
        {
            throw CheckpointFault.TokenizerUnusable(path, e.Message, e);
        }
    }

    /// <summary>Parses the JSON object of a tokenizer file. As in the released system, the last of repeated keys counts.</summary>
    public static JsonDocument Json(byte[] bytes)
    {
        var document = StrictJson.Parse(bytes, new StrictJsonOptions(RepeatedKeys: true));
        if (document.RootElement.ValueKind == JsonValueKind.Object)
            return document;
        document.Dispose();
        throw new InvalidDataException("its top level is not an object");
    }

    /// <summary>Reads a small JSON object; a missing file gives an empty object.</summary>
    public static JsonElement ReadSettings(string path) => File.Exists(path)
        ? Read(path, bytes =>
        {
            using var document = Json(bytes);
            return document.RootElement.Clone();
        })
        : JsonElement.Parse("{}");

    /// <summary>A required member.</summary>
    public static JsonElement Member(JsonElement json, string name, JsonValueKind kind)
    {
        if (json.ValueKind != JsonValueKind.Object || !json.TryGetProperty(name, out var value))
            throw new InvalidDataException(CheckpointFault.MemberMissing(name));
        return value.ValueKind == kind ? value : throw new InvalidDataException(CheckpointFault.MemberOfWrongKind(name, StrictJson.Shown(value), Article(kind)));
    }

    /// <summary>A required string member.</summary>
    public static string Text(JsonElement json, string name) => Member(json, name, JsonValueKind.String).GetString()!;

    /// <summary>Text of a special token, which is a string or an object with <c>content</c>.</summary>
    public static string? SpecialToken(JsonElement settings, string name)
    {
        if (!settings.TryGetProperty(name, out var value))
            return null;
        if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty("content", out var content))
            value = content;
        return value.ValueKind == JsonValueKind.String ? value.GetString() : null;
    }

    /// <summary>A boolean member; <paramref name="otherwise"/> if it is missing or null.</summary>
    public static bool Flag(JsonElement element, string name, bool otherwise = false) => !element.TryGetProperty(name, out var value)
        ? otherwise
        : value.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            JsonValueKind.Null => otherwise,
            _ => throw new InvalidDataException($"its \"{name}\" is {StrictJson.Shown(value)}, neither true nor false"),
        };

    private static string Article(JsonValueKind kind) => kind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "a list",
        JsonValueKind.String => "a text",
        _ => "a number",
    };
}

/// <summary>Token ids of one text, ready for a text encoder.</summary>
/// <param name="Ids">Token ids including the end token; padded if requested.</param>
/// <param name="Length">Number of <paramref name="Ids"/> without padding.</param>
/// <param name="FullLength">Length of the text without truncation.</param>
public sealed record Tokenized(long[] Ids, int Length, int FullLength)
{
    /// <summary>Whether the text was truncated.</summary>
    public bool Truncated => FullLength > Length;

    /// <summary>1 for each token, 0 for each padding position; of the length of <see cref="Ids"/>.</summary>
    public long[] AttentionMask()
    {
        var mask = new long[Ids.Length];
        Array.Fill(mask, 1, 0, Length);
        return mask;
    }

    /// <summary>Adds special tokens to the ids of a text; truncates the text, not the end token.</summary>
    internal static Tokenized Create(List<int> text, int? start, int end, int pad, int maxLength, bool padded)
    {
        var special = start is null ? 1 : 2;
        ArgumentOutOfRangeException.ThrowIfLessThan(maxLength, special);
        var kept = Math.Min(text.Count, maxLength - special);
        var length = kept + special;
        var ids = new long[padded ? maxLength : length];
        var next = 0;
        if (start is { } first)
            ids[next++] = first;
        for (var i = 0; i < kept; i++)
            ids[next++] = text[i];
        ids[next++] = end;
        Array.Fill(ids, pad, next, ids.Length - next);
        return new Tokenized(ids, length, text.Count + special);
    }
}
