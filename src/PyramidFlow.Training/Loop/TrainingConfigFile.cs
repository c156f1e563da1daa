using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>Reads training configurations: JSON with comments, where an unknown key is an error.</summary>
public static class TrainingConfigFile
{
    private static readonly StrictJsonOptions Written = new(Written: true, RepeatedKeys: true);

    /// <summary>Reads one file.</summary>
    /// <exception cref="ArgumentException">The file is missing or not such a configuration; the message says where.</exception>
    public static T Read<T>(string path, JsonTypeInfo<T> type)
    {
        try
        {
            var utf8 = StrictText.ReadBytes(path);
            using (var json = StrictJson.Parse(utf8, Written))
                CheckKeys(json.RootElement, type, utf8, path, "");
            return StrictJson.Deserialize(utf8, type, Written);
        }
        catch (MalformedTextException e)
        {
            throw new ArgumentException($"{path}{(e.Line > 0 ? $", line {e.Line}" : "")}: {e.Reason}", e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ArgumentException($"{path} does not exist: the configurations that come with the program are in configs/", e);
        }
    }

    /// <summary>Whether a configuration names data of one's own: its <c>data</c> is an object. Otherwise it is one of the sprites world.</summary>
    public static bool NamesData(string path)
    {
        try
        {
            using var json = StrictJson.Parse(StrictText.ReadBytes(path), Written);
            return json.RootElement.ValueKind == JsonValueKind.Object
                && json.RootElement.TryGetProperty("data", out var data) && data.ValueKind == JsonValueKind.Object;
        }
        catch (MalformedTextException)
        {
            // Whoever reads it as the other kind says where it is malformed.
            return false;
        }
    }

    // Objects that have a reader of their own know their keys themselves.
    private static void CheckKeys(JsonElement json, JsonTypeInfo type, ReadOnlyMemory<byte> utf8, string path, string inside)
    {
        if (json.ValueKind != JsonValueKind.Object || type.Kind != JsonTypeInfoKind.Object)
            return;
        var known = type.Properties.Where(property => !property.IsExtensionData).ToDictionary(property => property.Name);
        foreach (var member in json.EnumerateObject())
        {
            if (!known.TryGetValue(member.Name, out var property))
                throw new ArgumentException($"{path}, line {StrictJson.LineOf(utf8, inside + member.Name)}: unknown key {StrictText.OneLine(member.Name)}{(inside.Length > 0 ? $" in {inside.TrimEnd('.')}" : "")}, the nearest one there is {NearestName.Find(StrictText.OneLine(member.Name), known.Keys)}");
            if (property.CustomConverter is null)
                CheckKeys(member.Value, type.Options.GetTypeInfo(property.PropertyType), utf8, path, $"{inside}{member.Name}.");
        }
    }
}
