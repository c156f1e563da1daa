using System.Text;
using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>A training configuration: a file, and values that take the place of those in it.</summary>
/// <param name="Path">The file; relative paths in the configuration and in the settings are relative to its folder.</param>
/// <param name="Settings">The values, in the order in which they are set.</param>
public sealed record TrainingConfigSource(string Path, IReadOnlyList<ConfigSetting> Settings)
{
    /// <summary>A file as it is.</summary>
    public static implicit operator TrainingConfigSource(string path) => FromString(path);

    /// <summary>A file as it is.</summary>
    public static TrainingConfigSource FromString(string path) => new(path, []);

    /// <summary>The text of the configuration with all settings. Its lines have the numbers of the file's.</summary>
    /// <exception cref="MalformedTextException">The file is too long; one that is not JSON is returned as it is.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    internal byte[] ReadBytes()
    {
        var utf8 = StrictText.ReadBytes(Path);
        try
        {
            return Settings.Aggregate(utf8, (text, setting) => setting.Apply(text));
        }
        catch (JsonException)
        {
            // The reader of the configuration reports the error.
            return utf8;
        }
    }

    /// <summary>Whether a setting gives a key or a part of it, so that the file has no line for it.</summary>
    internal bool IsSet(string key) => Settings.Any(setting => IsWithin(key, setting.Key) || IsWithin(setting.Key, key));

    private static bool IsWithin(string key, string parent) =>
        key.StartsWith(parent, StringComparison.Ordinal) && (key.Length == parent.Length || key[parent.Length] is '.' or '[');
}

/// <summary>A value of a configuration that is given beside its file, such as <c>data.workers=2</c>.</summary>
/// <param name="Key">The key, with dots between the names.</param>
/// <param name="Json">The value on one line.</param>
public sealed record ConfigSetting(string Key, string Json)
{
    /// <summary>Parses a key and a value: JSON, or a text where that fails.</summary>
    /// <exception cref="FormatException">There is no key, or the text has half of a character.</exception>
    public static ConfigSetting Parse(string text)
    {
        var equal = text.IndexOf('=', StringComparison.Ordinal);
        var key = equal < 0 ? "" : text[..equal].Trim();
        if (key.Split('.').Contains(""))
            throw new FormatException("use KEY=VALUE with a key of the configuration, such as steps=200 or data.workers=2");
        if (StrictText.FindFault(text) is { } fault)
            throw new FormatException($"it {fault}");
        var value = text[(equal + 1)..];
        return new ConfigSetting(key, IsJson(value) ? value.Trim().ReplaceLineEndings(" ") : ReadableJson.Quote(value));
    }

    /// <summary>Sets the value in a configuration.</summary>
    /// <param name="utf8">The configuration.</param>
    /// <returns>The new text; the same where it is no object.</returns>
    /// <exception cref="JsonException">The configuration is not JSON.</exception>
    internal byte[] Apply(byte[] utf8)
    {
        var keys = Key.Split('.');
        var reader = new Utf8JsonReader(StrictText.WithoutMark(utf8), StrictJson.WrittenReader);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            return utf8;
        var start = utf8.Length - StrictText.WithoutMark(utf8).Length + (int)reader.TokenStartIndex;
        for (var depth = 0; ; depth++)
        {
            var (member, isEmpty) = Find(utf8, start, keys[depth]);
            if (member is not { } value)
                return Replaced(utf8, (start + 1)..(start + 1), $"{Nested(keys[depth..], Json)}{(isEmpty ? "" : ", ")}");
            if (depth == keys.Length - 1 || utf8[value.Start.Value] != '{')
                return Replaced(utf8, value, depth == keys.Length - 1 ? Json : $"{{ {Nested(keys[(depth + 1)..], Json)} }}");
            start = value.Start.Value;
        }
    }

    private static bool IsJson(string value)
    {
        try
        {
            JsonDocument.Parse(value).Dispose();
            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    // Range of a member's value; the last one counts where the key is repeated.
    private static (Range? Value, bool IsEmpty) Find(ReadOnlySpan<byte> utf8, int start, string key)
    {
        var reader = new Utf8JsonReader(utf8[start..], StrictJson.WrittenReader);
        var (found, isEmpty) = ((Range?)null, true);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            isEmpty = false;
            var isWanted = reader.ValueTextEquals(key);
            reader.Read();
            var first = start + (int)reader.TokenStartIndex;
            reader.Skip();
            if (isWanted)
                found = first..(start + (int)reader.BytesConsumed);
        }

        return (found, isEmpty);
    }

    // "a": { "b": value } of the keys a and b.
    private static string Nested(ReadOnlySpan<string> keys, string json) =>
        $"{ReadableJson.Quote(keys[0])}: {(keys.Length == 1 ? json : $"{{ {Nested(keys[1..], json)} }}")}";

    private static byte[] Replaced(ReadOnlySpan<byte> utf8, Range range, string text) =>
    [
        .. utf8[..range.Start], .. Encoding.UTF8.GetBytes(text), .. Enumerable.Repeat((byte)'\n', utf8[range].Count((byte)'\n')), .. utf8[range.End..],
    ];
}
