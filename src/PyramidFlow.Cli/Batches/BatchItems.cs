using System.Text.Json;
using PyramidFlow.Cli.Generating;

namespace PyramidFlow.Cli.Batches;

/// <summary>Reads an item of a batch: a prompt, or an object with settings of its own.</summary>
internal static class BatchItems
{
    private const string NameKey = "name";

    /// <param name="item">A text or an object.</param>
    /// <param name="key">What names the item, if something outside it does.</param>
    /// <exception cref="FormatException">It is something else, or a setting is impossible.</exception>
    public static BatchItem Of(JsonElement item, string? key)
    {
        if (item.ValueKind == JsonValueKind.String)
            return new BatchItem(new ClipArguments { Prompt = item.GetString() }, key);
        if (item.ValueKind != JsonValueKind.Object)
            throw new FormatException("an item is a text in quotes, or an object such as {\"prompt\": \"a red ball\", \"seed\": 7}");
        var name = key;
        var clip = ClipJson.Read(item, (other, value) =>
        {
            if (other != NameKey)
                return false;
            name ??= ClipJson.Words(value);
            return true;
        });
        return new BatchItem(clip, name);
    }
}
