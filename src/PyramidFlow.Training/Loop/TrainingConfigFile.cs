using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using PyramidFlow.Models;
using PyramidFlow.Hub;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Loop;

/// <summary>Reads training configurations: JSON with comments; an unknown key is an error.</summary>
internal static class TrainingConfigFile
{
    // Unknown keys that are named.
    private const int Foreign = 3;

    private static readonly StrictJsonOptions Written = new(Written: true, RepeatedKeys: true);

    /// <summary>Reads a file, with the settings beside it.</summary>
    /// <exception cref="TrainingException">The file is missing or malformed; the message names the line. A setting has none.</exception>
    public static T Read<T>(TrainingConfigSource source, JsonTypeInfo<T> type)
    {
        var path = source.Path;
        try
        {
            var utf8 = source.ReadBytes();
            if (!IsBraced(utf8))
                throw TrainingFault.ConfigOfOtherTool(path, "it does not begin with a brace");
            using (var json = StrictJson.Parse(utf8, Written))
                CheckKeys(json.RootElement, type, utf8, source, "");
            return StrictJson.Deserialize(utf8, type, Written);
        }
        catch (MalformedTextException e)
        {
            throw TrainingFault.ConfigMalformed(path, e.Key is { } key && source.IsSet(key) ? 0 : e.Line, e.Key, e.Reason, e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw TrainingFault.ConfigMissing(path, e);
        }
    }

    // Comments may come before the brace.
    private static bool IsBraced(ReadOnlySpan<byte> utf8)
    {
        var text = StrictText.WithoutMark(utf8).TrimStart(" \t\r\n"u8);
        // A list is named as such by the reader; a name in brackets is TOML.
        return text.IsEmpty || text[0] is (byte)'{' or (byte)'/' || (text[0] == (byte)'[' && !(text.Length > 1 && char.IsAsciiLetter((char)text[1])));
    }

    /// <summary>Whether a configuration has a <c>data</c> object, and so trains on a data set of videos, images or latents; a procedural data set has none.</summary>
    public static bool HasDataSection(TrainingConfigSource source)
    {
        try
        {
            using var json = StrictJson.Parse(source.ReadBytes(), Written);
            return json.RootElement.ValueKind == JsonValueKind.Object
                && json.RootElement.TryGetProperty("data", out var data) && data.ValueKind == JsonValueKind.Object;
        }
        catch (MalformedTextException)
        {
            // The reader of the configuration reports the error.
            return false;
        }
    }

    /// <summary>Device that a configuration names; <c>cpu</c> where it names none.</summary>
    public static string DeviceOf(TrainingConfigSource source) =>
        Facts(source).Where(fact => fact.Name == "device").Select(fact => fact.Value.Trim('"')).FirstOrDefault("cpu");

    /// <summary>Threads that a configuration names; null where it names none, or what its reader refuses.</summary>
    public static int? ThreadsOf(TrainingConfigSource source) =>
        Facts(source).Where(fact => fact.Name == "threads").Select(fact => int.TryParse(fact.Value, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count > 0 ? count : (int?)null).FirstOrDefault();

    /// <summary>Every value of a configuration under its key, such as <c>data.annotations</c>, for processes that compare theirs.</summary>
    /// <param name="source">The configuration; what is wrong with it is left to its reader.</param>
    public static IReadOnlyList<(string Name, string Value)> Facts(TrainingConfigSource source)
    {
        var facts = new List<(string, string)>();
        try
        {
            using var json = StrictJson.Parse(source.ReadBytes(), Written);
            Add("", json.RootElement);
        }
        catch (MalformedTextException)
        {
            // The reader of the configuration reports the error.
        }

        return facts;

        void Add(string key, JsonElement value)
        {
            if (value.ValueKind != JsonValueKind.Object)
            {
                facts.Add((key, Shown(value)));
                return;
            }

            foreach (var member in value.EnumerateObject())
                Add(key.Length == 0 ? member.Name : $"{key}.{member.Name}", member.Value);
        }
    }

    // Addresses of shards may hold passwords.
    private static string Shown(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Array => $"[{string.Join(", ", value.EnumerateArray().Select(Shown))}]",
        JsonValueKind.String when ShardAddress.IsRemote(value.GetString()!) => ReadableJson.Quote(ShardAddress.Shown(value.GetString()!)),
        _ => value.GetRawText(),
    };

    // Objects with a converter check their keys themselves.
    private static void CheckKeys(JsonElement json, JsonTypeInfo type, ReadOnlyMemory<byte> utf8, TrainingConfigSource source, string inside)
    {
        if (json.ValueKind != JsonValueKind.Object || type.Kind != JsonTypeInfoKind.Object)
            return;
        var known = type.Properties.Where(property => !property.IsExtensionData).ToDictionary(property => property.Name);
        // One wrong key is a slip; where most are, the nearest known one would help nobody.
        if (inside.Length == 0 && json.EnumerateObject().Select(member => member.Name).Where(name => !known.ContainsKey(name)).Take(Foreign).ToList() is { Count: > 1 } foreign
            && json.EnumerateObject().Count(member => known.ContainsKey(member.Name)) < foreign.Count)
        {
            throw TrainingFault.ConfigOfOtherTool(source.Path, $"it has keys such as {string.Join(", ", foreign.Select(name => StrictText.OneLine(name)))}");
        }

        foreach (var member in json.EnumerateObject())
        {
            if (!known.TryGetValue(member.Name, out var property))
            {
                var name = StrictText.OneLine(member.Name);
                long? line = source.IsSet(inside + member.Name) ? null : StrictJson.LineOf(utf8, inside + member.Name);
                throw TrainingFault.UnknownKey(source.Path, line, name, inside.TrimEnd('.'), NearestName.Find(name, known.Keys));
            }

            if (property.CustomConverter is null)
                CheckKeys(member.Value, type.Options.GetTypeInfo(property.PropertyType), utf8, source, $"{inside}{member.Name}.");
        }
    }
}

/// <summary>Resolves paths in training configurations, which are relative to the folder of the configuration file.</summary>
internal static class ConfigPaths
{
    /// <summary>Resolves a file or folder.</summary>
    /// <param name="config">The configuration file.</param>
    /// <param name="key">Key of the path, for the message.</param>
    /// <param name="value">The path as written.</param>
    /// <returns>The full path, which may not exist.</returns>
    /// <exception cref="TrainingException">The path does not exist, but it would relative to the working folder.</exception>
    internal static string File(string config, string key, string value)
    {
        if (value.Length == 0)
            throw TrainingFault.PathEmpty(config, key);
        var folder = FolderOf(config);
        var path = Path.GetFullPath(value, folder);
        if (Path.Exists(path) || Path.IsPathRooted(value) || !Path.Exists(value))
            return path;
        var written = Path.GetRelativePath(folder, Path.GetFullPath(value)).Replace('\\', '/');
        throw TrainingFault.PathInWorkingFolder(config, key, value, written);
    }

    /// <summary>Resolves a model: a folder, or the name of an installed model.</summary>
    /// <inheritdoc cref="File"/>
    /// <exception cref="TrainingException">There is no such folder or model.</exception>
    internal static string Model(string config, string key, string value)
    {
        if (FolderOrName(config, key, value) is { } found && Path.Exists(found))
            return found;
        throw TrainingFault.UnknownModel(config, key, value, ModelCatalog.Installed().Select(model => model.Name));
    }

    /// <summary>Resolves a folder, a file, or the name of an installed model.</summary>
    /// <inheritdoc cref="File"/>
    internal static string FolderOrName(string config, string key, string value)
    {
        var here = value.Length > 0 && Path.Exists(Path.GetFullPath(value, FolderOf(config)));
        if (here)
            return File(config, key, value);
        // As on the command line, a bare name may also be a folder in the working folder.
        var isName = Path.GetFileName(value) == value;
        return isName && CheckpointFolder.IsCheckpoint(value) ? Path.GetFullPath(value) : ModelCatalog.FindInstalled(value) ?? File(config, key, value);
    }

    /// <summary>Copies a configuration with its settings to another folder and adapts its relative paths; a file that is its own copy only takes the settings.</summary>
    /// <param name="source">The configuration, already validated.</param>
    /// <param name="target">The copy.</param>
    /// <param name="keys">Keys of paths, such as <c>data.annotations</c>, beside that of the schema.</param>
    internal static void Copy(TrainingConfigSource source, string target, params ReadOnlySpan<string> keys)
    {
        var (from, to) = (FolderOf(source.Path), FolderOf(target));
        if (Path.GetFullPath(source.Path) == Path.GetFullPath(target) && source.Settings.Count == 0)
            return;
        var bytes = source.ReadBytes();
        using var copy = new MemoryStream();
        var written = 0;
        foreach (var (start, end, value) in Texts(bytes, [LoopConfig.SchemaKey, .. keys]))
        {
            // Model names and paths that do not exist stay unchanged.
            if (Path.IsPathRooted(value) || ShardAddress.IsRemote(value) || !(ShardAddress.IsShard(value) || Path.Exists(Path.GetFullPath(value, from))))
                continue;
            var moved = Path.GetRelativePath(to, Path.GetFullPath(value, from)).Replace('\\', '/');
            copy.Write(bytes.AsSpan(written, start - written));
            copy.Write(Encoding.UTF8.GetBytes(ReadableJson.Quote(moved)));
            written = end;
        }

        copy.Write(bytes.AsSpan(written));
        System.IO.File.WriteAllBytes(target, copy.ToArray());
    }

    // Positions of the string values of some keys.
    private static List<(int Start, int End, string Value)> Texts(byte[] bytes, ReadOnlySpan<string> keys)
    {
        var texts = new List<(int, int, string)>();
        var mark = bytes is [0xEF, 0xBB, 0xBF, ..] ? 3 : 0;
        var reader = new Utf8JsonReader(bytes.AsSpan(mark), StrictJson.WrittenReader);
        var path = new Stack<string>();
        var key = "";
        while (reader.Read())
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.StartObject:
                    path.Push(key.Length == 0 ? "" : key + ".");
                    break;
                case JsonTokenType.EndObject:
                    key = path.Pop().TrimEnd('.');
                    break;
                case JsonTokenType.PropertyName:
                    key = path.Peek() + reader.GetString();
                    break;
                case JsonTokenType.String when keys.Contains(key):
                    texts.Add((mark + (int)reader.TokenStartIndex, mark + (int)reader.BytesConsumed, reader.GetString()!));
                    break;
            }
        }

        return texts;
    }

    private static string FolderOf(string file) => Path.GetDirectoryName(Path.GetFullPath(file))!;
}
