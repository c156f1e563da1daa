using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub;

/// <summary>Reads a checkpoint's <c>config.json</c> into a record; faults name the file and the key.</summary>
public static class ConfigFile
{
    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="type">Source-generated description of the record.</param>
    /// <exception cref="CheckpointException">The file is missing, is not JSON, or lacks or misstates a key.</exception>
    public static T Read<T>(string path, JsonTypeInfo<T> type)
    {
        byte[] json;
        try
        {
            json = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new CheckpointException($"{path} does not exist: download the checkpoint again, its configs are part of it", e);
        }

        return Parse(json, path, type);
    }

    /// <summary>Reads JSON that is already in memory.</summary>
    /// <param name="utf8Json">The JSON object.</param>
    /// <param name="file">What to call it in an error.</param>
    /// <param name="type">Source-generated description of the record.</param>
    /// <exception cref="CheckpointException">It is not a JSON object, or it lacks or misstates a key.</exception>
    public static T Parse<T>(ReadOnlyMemory<byte> utf8Json, string file, JsonTypeInfo<T> type)
    {
        if (utf8Json.Span.StartsWith("\uFEFF"u8))
            utf8Json = utf8Json[3..];
        try
        {
            using (var document = JsonDocument.Parse(utf8Json))
                CheckKeys(document.RootElement, file, type);
            return JsonSerializer.Deserialize(utf8Json.Span, type)!;
        }
        catch (JsonException e)
        {
            var at = e.Path?.TrimStart('$', '.') ?? "";
            throw new CheckpointException(at.Length == 0
                ? $"{file} is not valid JSON: {e.Message}"
                : $"{file}: {at} has a value of the wrong kind", e);
        }
    }

    /// <summary>The text of a <c>config.json</c> with the model's class before the other keys, as diffusers writes it.</summary>
    /// <param name="className">What the released system calls the model.</param>
    /// <param name="json">The keys: a JSON object, which may say its class too.</param>
    public static string WithClass(string className, string json)
    {
        var config = JsonNode.Parse(json)!.AsObject();
        config.Remove("_class_name");
        config.Insert(0, "_class_name", className);
        return config.ToJsonString(new() { WriteIndented = true }) + "\n";
    }

    /// <summary>The error for a key whose value makes no sense.</summary>
    /// <param name="file">The file, as the user knows it.</param>
    /// <param name="key">The key as it stands in the file.</param>
    /// <param name="fault">What is wrong, and what would be right: "is 0; it must be positive".</param>
    public static CheckpointException Fault(string file, string key, string fault) => new($"{file}: {key} {fault}");

    /// <summary>Fails unless every size is positive.</summary>
    /// <param name="file">The file, as the user knows it.</param>
    /// <param name="sizes">Keys and values.</param>
    public static void RequirePositive(string file, params ReadOnlySpan<(string Key, double Value)> sizes)
    {
        foreach (var (key, value) in sizes)
        {
            if (!(value > 0))
                throw Fault(file, key, FormattableString.Invariant($"is {value}; it must be positive"));
        }
    }

    private static void CheckKeys<T>(JsonElement root, string file, JsonTypeInfo<T> type)
    {
        if (root.ValueKind != JsonValueKind.Object)
            throw new CheckpointException($"{file} is not a JSON object");
        var missing = type.Properties
            .Where(p => (p.IsRequired || p.AssociatedParameter is { HasDefaultValue: false }) && !root.TryGetProperty(p.Name, out _))
            .Select(p => p.Name)
            .ToList();
        if (missing.Count > 0)
            throw new CheckpointException($"{file} lacks {string.Join(", ", missing)}");
        if (type.UnmappedMemberHandling != JsonUnmappedMemberHandling.Disallow)
            return;
        var known = type.Properties.Select(p => p.Name).ToList();
        var unknown = root.EnumerateObject().Select(p => p.Name).Where(name => !known.Contains(name)).ToList();
        if (unknown.Count > 0)
            throw new CheckpointException($"{file} has the unknown key {string.Join(", ", unknown)}; known are {string.Join(", ", known)}");
    }
}
