using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Models;

/// <summary>Reads a checkpoint's <c>config.json</c> into a record; error messages name the file and the key.</summary>
public static class ConfigFile
{
    private const long MaxBytes = 4 << 20;

    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="type">Source-generated metadata of the record.</param>
    /// <exception cref="CheckpointException">The file is missing or not JSON, or a key is missing or has a value of the wrong type.</exception>
    public static T Read<T>(string path, JsonTypeInfo<T> type)
    {
        byte[] json;
        try
        {
            json = StrictText.ReadBytes(path, MaxBytes);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw CheckpointFault.ConfigMissing(path, e);
        }
        catch (MalformedTextException e)
        {
            throw CheckpointFault.ConfigMalformed(path, e.Message, e.Key, e);
        }

        return Parse(json, path, type);
    }

    /// <summary>Reads JSON in memory.</summary>
    /// <param name="utf8Json">The JSON object.</param>
    /// <param name="file">Name of the file in error messages.</param>
    /// <param name="type">Source-generated metadata of the record.</param>
    /// <exception cref="CheckpointException">It is not a JSON object, or a key is missing or has a value of the wrong type.</exception>
    public static T Parse<T>(ReadOnlyMemory<byte> utf8Json, string file, JsonTypeInfo<T> type)
    {
        try
        {
            // Like the reader of the released system: the last of repeated keys counts.
            using var document = StrictJson.Parse(utf8Json, new StrictJsonOptions(RepeatedKeys: true));
            CheckKeys(document.RootElement, file, type);
            return StrictJson.Deserialize(document.RootElement, type);
        }
        catch (MalformedTextException e)
        {
            throw CheckpointFault.ConfigMalformed(file, e.Message, e.Key, e);
        }
    }

    /// <summary>Text of a <c>config.json</c> with the model's class as its first key, as diffusers writes it.</summary>
    /// <param name="className">Class name of the model in the released system.</param>
    /// <param name="json">JSON object of the other keys; a class in it is replaced.</param>
    public static string WithClass(string className, string json)
    {
        var config = JsonNode.Parse(json)!.AsObject();
        config.Remove("_class_name");
        config.Insert(0, "_class_name", className);
        return config.ToJsonString(new() { WriteIndented = true }) + "\n";
    }

    /// <summary>Creates the error for a key with an invalid value.</summary>
    /// <param name="file">Path of the file as the user gave it.</param>
    /// <param name="key">Key in the file.</param>
    /// <param name="fault">What is wrong and which values are valid: "is 0; it must be positive".</param>
    public static CheckpointException Fault(string file, string key, string fault) => CheckpointFault.ConfigValue(file, key, fault);

    /// <summary>Checks that all sizes are positive and finite.</summary>
    /// <param name="file">Path of the file as the user gave it.</param>
    /// <param name="sizes">Keys and values.</param>
    public static void RequirePositive(string file, params ReadOnlySpan<(string Key, double Value)> sizes)
    {
        foreach (var (key, value) in sizes)
        {
            if (!(value > 0 && double.IsFinite(value)))
                throw Fault(file, key, FormattableString.Invariant($"is {value}; it must be positive"));
        }
    }

    private static void CheckKeys<T>(JsonElement root, string file, JsonTypeInfo<T> type)
    {
        if (root.ValueKind != JsonValueKind.Object)
            throw CheckpointFault.ConfigNoObject(file);
        var missing = type.Properties
            .Where(p => (p.IsRequired || p.AssociatedParameter is { HasDefaultValue: false }) && !root.TryGetProperty(p.Name, out _))
            .Select(p => p.Name)
            .ToList();
        if (missing.Count > 0)
            throw CheckpointFault.ConfigLacks(file, missing);
        foreach (var property in type.Properties)
        {
            if (root.TryGetProperty(property.Name, out var value) && !IsFinite(value))
                throw Fault(file, property.Name, "has a number that is larger than any that can be computed with");
        }

        if (type.UnmappedMemberHandling != JsonUnmappedMemberHandling.Disallow)
            return;
        var known = type.Properties.Select(p => p.Name).ToList();
        var unknown = root.EnumerateObject().Select(p => p.Name).Where(name => !known.Contains(name)).ToList();
        if (unknown.Count > 0)
            throw CheckpointFault.UnknownConfigKeys(file, unknown, known);
    }

    // Numbers such as 1e400 are read as infinite.
    private static bool IsFinite(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Number => !value.TryGetDouble(out var number) || double.IsFinite(number),
        JsonValueKind.Array => value.EnumerateArray().All(IsFinite),
        _ => true,
    };
}
