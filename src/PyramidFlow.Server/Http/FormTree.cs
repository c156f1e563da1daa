using System.Text.Json;
using System.Text.Json.Nodes;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Http;

/// <summary>
/// The fields of a form as the JSON object that clients make them from: <c>steps[]</c> once for each item, <c>extra_params[seed]</c>,
/// <c>prompts[][from]</c> and <c>prompts[][prompt]</c> in turn. Every value is a text.
/// </summary>
internal sealed class FormTree
{
    private const int Deepest = 4;
    private readonly JsonObject root = [];

    /// <summary>Name of the field that a part of a form belongs to.</summary>
    public static string FieldOf(string name) => name.IndexOf('[', StringComparison.Ordinal) is > 0 and var bracket && name[^1] == ']' ? name[..bracket] : name;

    /// <summary>Adds a part.</summary>
    /// <exception cref="JobException">It stands twice, or its name is malformed.</exception>
    public void Add(string name, string text)
    {
        var path = Path(name);
        JsonNode at = root;
        for (var i = 0; i < path.Length; i++)
        {
            var child = i + 1 == path.Length ? JsonValue.Create(text) : path[i + 1].Length == 0 ? (JsonNode)new JsonArray() : new JsonObject();
            at = at switch
            {
                JsonArray list when path[i].Length == 0 => Into(list, child, i + 1 < path.Length ? path[i + 1] : null),
                JsonObject item when path[i].Length > 0 => Into(item, path[i], child) ?? throw RequestFields.Twice(name),
                _ => throw RequestFields.Twice(name),
            };
        }
    }

    /// <summary>The object.</summary>
    public JsonElement ToJson()
    {
        using var json = StrictJson.Parse(root.ToJsonString());
        return json.RootElement.Clone();
    }

    // An item takes keys until one stands in it already.
    private static JsonNode Into(JsonArray list, JsonNode child, string? key)
    {
        if (key is { Length: > 0 } && list.LastOrDefault() is JsonObject last && !last.ContainsKey(key))
            return last;
        list.Add(child);
        return child;
    }

    // What is there already goes on when both are lists or objects; null when it does not.
    private static JsonNode? Into(JsonObject item, string key, JsonNode child)
    {
        if (!item.TryGetPropertyValue(key, out var there) || there is null)
            item[key] = there = child;
        else if (child is JsonValue || there is JsonValue)
            return null;
        return there;
    }

    // The parts between brackets; an empty one is an item of a list.
    private static string[] Path(string name)
    {
        var field = FieldOf(name);
        if (field.Length == name.Length)
            return [name];
        string[] path = [field, .. name[(field.Length + 1)..^1].Split("][")];
        return path.Length <= Deepest ? path : throw ServiceFault.FieldNameTooDeep(field, Deepest - 1);
    }
}
