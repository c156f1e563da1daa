using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Generating;

/// <summary>
/// A file of prompts. <c>.txt</c>: one a line. <c>.jsonl</c>: a text or an object on each line. <c>.json</c>: a list of these, or
/// an object whose keys name the items. It is kept as bytes, and an item is read when it is asked for.
/// </summary>
internal sealed class BatchFile
{
    private const long MaxBytes = 512L << 20;

    private readonly byte[] bytes;
    private readonly bool isText;

    private BatchFile(string path, byte[] bytes)
    {
        (Path, this.bytes) = (path, bytes);
        var extension = System.IO.Path.GetExtension(path).ToLowerInvariant();
        isText = extension == ".txt";
        Entries = extension == ".json" ? JsonEntries.Of(path, bytes) : LineEntries.Of(bytes);
    }

    public string Path { get; }

    /// <summary>The items, in order.</summary>
    public IReadOnlyList<BatchEntry> Entries { get; }

    /// <summary>Opens a file and finds its items.</summary>
    /// <exception cref="UsageException">It cannot be read, is no text or no JSON, or holds nothing.</exception>
    public static BatchFile Open(string path)
    {
        OutputFile.CheckInput(path, "--batch takes a file of prompts");
        if (System.IO.Path.GetExtension(path).ToLowerInvariant() is not (".json" or ".jsonl" or ".txt"))
            throw CommandFault.BatchKind(path);
        var file = new BatchFile(path, Read(path));
        return file.Entries.Count > 0 ? file : throw CommandFault.BatchEmpty(path);
    }

    /// <summary>The place of an item for messages: file, line, and key if it has one.</summary>
    public string Where(BatchEntry entry)
    {
        var line = $"{Path} line {entry.Line}";
        return entry.KeyStart < 0 || Key(entry) is not { } key ? line : $"{line} ('{StrictText.OneLine(key)}')";
    }

    /// <summary>Reads an item.</summary>
    /// <exception cref="UsageException">It is not what an item can be.</exception>
    public BatchItem Read(BatchEntry entry)
    {
        if (entry.IsRepeated)
            throw CommandFault.ItemKeyRepeated();
        var value = bytes.AsMemory(entry.Start, entry.Length);
        if (isText)
            return new BatchItem(new ClipArguments { Prompt = Text(value.Span) }, null);
        try
        {
            using var json = StrictJson.Parse(value, new StrictJsonOptions(Written: true, RepeatedKeys: true));
            return BatchItems.Of(json.RootElement, entry.KeyStart < 0 ? null : Key(entry) ?? throw CommandFault.ItemKeyMalformed());
        }
        catch (MalformedTextException e)
        {
            // Line numbers in the exception are relative to the item, so they are left out.
            throw CommandFault.ItemMalformed(e.Reason, e.IsNoJson, e);
        }
    }

    private static byte[] Read(string path)
    {
        try
        {
            if (new FileInfo(path).Length > MaxBytes)
                throw CommandFault.BatchTooLarge(path, MaxBytes >> 20);
            var bytes = File.ReadAllBytes(path);
            if (bytes is [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..] || bytes.AsSpan().Contains((byte)0))
                throw CommandFault.BatchNotUtf8(path);
            // A byte order mark; spaces keep the positions.
            if (bytes is [0xEF, 0xBB, 0xBF, ..])
                bytes.AsSpan(0, 3).Fill((byte)' ');
            return bytes;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CommandFault.FileUnreadable(path, e);
        }
    }

    private static string Text(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return StrictText.Decode(bytes).Trim();
        }
        catch (MalformedTextException e)
        {
            throw CommandFault.ItemMalformed(e.Reason, isNoJson: false, e);
        }
    }

    // Null where the key is not valid text.
    private string? Key(BatchEntry entry)
    {
        var reader = new Utf8JsonReader(bytes.AsSpan(entry.KeyStart));
        reader.Read();
        return JsonEntries.Name(ref reader);
    }
}

/// <summary>The place of a batch item in its file. Its text is parsed on demand.</summary>
/// <param name="Line">Line it begins on, from 1.</param>
/// <param name="Start">First byte of the value.</param>
/// <param name="Length">Bytes of the value.</param>
/// <param name="KeyStart">First byte of the JSON text that names the item, or -1.</param>
/// <param name="IsRepeated">Whether an earlier item has the same key.</param>
internal readonly record struct BatchEntry(int Line, int Start, int Length, int KeyStart = -1, bool IsRepeated = false);

/// <summary>One item of a batch file.</summary>
/// <param name="Clip">Settings of its own.</param>
/// <param name="Name">Name of its file, as written; null lets the program choose.</param>
internal sealed record BatchItem(ClipArguments Clip, string? Name);

/// <summary>Reads an item of a batch: a prompt, or an object with settings of its own (<see cref="SettingsTable"/>).</summary>
internal static class BatchItems
{
    private const string NameKey = "name", ImageKey = "image";

    private static readonly string[] Keys = [.. SettingsTable.All.Where(setting => setting.Name is not ("new_only" or "lora")).SelectMany(setting => setting.Aliases.Prepend(setting.Name)), ImageKey];

    /// <param name="item">A text or an object.</param>
    /// <param name="key">Key of the item in the enclosing object; null for none.</param>
    /// <exception cref="UsageException">It is something else, or a setting is impossible.</exception>
    public static BatchItem Of(JsonElement item, string? key)
    {
        if (item.ValueKind == JsonValueKind.String)
            return new BatchItem(new ClipArguments { Prompt = item.GetString() }, key);
        if (item.ValueKind != JsonValueKind.Object)
            throw CommandFault.ItemKind();
        var (clip, name) = (new ClipArguments(), key);
        var seen = new HashSet<string>();
        foreach (var property in item.EnumerateObject())
        {
            var member = property.Name.Replace('-', '_');
            if (!seen.Add(member))
                throw CommandFault.ItemKeyTwice(property.Name);
            if (property.Value.ValueKind == JsonValueKind.Null)
                continue;
            if (member == NameKey)
                name ??= Named(property, SettingsTable.Words);
            else
                clip = Read(clip, member, property);
        }

        return clip is { Width: null } != clip is { Height: null }
            ? throw (clip.Width is null ? CommandFault.ItemSideAlone("height", "width") : CommandFault.ItemSideAlone("width", "height"))
            : new BatchItem(clip, name);
    }

    private static ClipArguments Read(ClipArguments clip, string key, JsonProperty property)
    {
        if (!Keys.Contains(key))
            throw CommandFault.ItemKeyUnknown(StrictText.OneLine(property.Name), NearestName.FindTypo(property.Name, Keys), Keys);
        return Named(property, value =>
        {
            if (key == ImageKey)
                return clip with { ImageFile = SettingsTable.Words(value) };
            var setting = SettingsTable.Find(key)!;
            var read = setting.Read(clip, value);
            return read with { AnySeed = clip.AnySeed || (setting.Name == "seed" && read.Seed is null) };
        });
    }

    // What a setting says about its value begins with the key as written.
    private static T Named<T>(JsonProperty property, Func<JsonElement, T> read)
    {
        try
        {
            return read(property.Value);
        }
        catch (FormatException e)
        {
            throw CommandFault.ItemValueInvalid(property.Name, StrictText.OneLine(property.Value.ToString()), e);
        }
    }
}

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
            throw CommandFault.BatchNotJson(path, (e.LineNumber ?? 0) + 1, StrictJson.Reason(e), e);
        }
    }

    /// <summary>The property name at the reader's position; null where it is not valid text.</summary>
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
            throw CommandFault.BatchOneValue(path);
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

/// <summary>Lines that are not blank.</summary>
internal static class LineEntries
{
    public static List<BatchEntry> Of(ReadOnlySpan<byte> bytes)
    {
        var entries = new List<BatchEntry>();
        for (var (start, line) = (0, 1); start < bytes.Length; line++)
        {
            var length = bytes[start..].IndexOf((byte)'\n');
            if (length < 0)
                length = bytes.Length - start;
            if (bytes.Slice(start, length).ContainsAnyExcept(" \t\r"u8))
                entries.Add(new BatchEntry(line, start, length));
            start += length + 1;
        }

        return entries;
    }
}
