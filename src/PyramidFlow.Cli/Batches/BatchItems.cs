using System.Text.Json;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Generation;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Batches;

/// <summary>What a batch file asks for at one place.</summary>
/// <param name="Clip">Settings of its own.</param>
/// <param name="Name">What its file is to be called, as written; null leaves that to the program.</param>
internal sealed record BatchItem(ClipArguments Clip, string? Name);

/// <summary>Reads an item of a batch: a prompt, or an object with settings of its own (<see cref="SettingsTable"/>).</summary>
internal static class BatchItems
{
    private const string NameKey = "name", ImageKey = "image";

    private static readonly string[] Keys = [.. SettingsTable.All.Where(setting => setting.Name != "new_only").SelectMany(setting => setting.Aliases.Prepend(setting.Name)), ImageKey];

    /// <param name="item">A text or an object.</param>
    /// <param name="key">What names the item, if something outside it does.</param>
    /// <exception cref="FormatException">It is something else, or a setting is impossible.</exception>
    public static BatchItem Of(JsonElement item, string? key)
    {
        if (item.ValueKind == JsonValueKind.String)
            return new BatchItem(new ClipArguments { Prompt = item.GetString() }, key);
        if (item.ValueKind != JsonValueKind.Object)
            throw new FormatException("an item is a text in quotes, or an object such as {\"prompt\": \"a red ball\", \"seed\": 7}");
        var (clip, name) = (new ClipArguments(), key);
        var seen = new HashSet<string>();
        foreach (var property in item.EnumerateObject())
        {
            var member = property.Name.Replace('-', '_');
            if (!seen.Add(member))
                throw new FormatException($"{property.Name} stands twice: leave one out");
            if (property.Value.ValueKind == JsonValueKind.Null)
                continue;
            if (member == NameKey)
                name ??= SettingsTable.Words(property.Value);
            else
                clip = Read(clip, member, property);
        }

        return clip is { Width: null } != clip is { Height: null }
            ? throw new FormatException(clip.Width is null ? "height needs a width beside it" : "width needs a height beside it")
            : new BatchItem(clip, name);
    }

    private static ClipArguments Read(ClipArguments clip, string key, JsonProperty property)
    {
        if (!Keys.Contains(key))
            throw Unknown(property.Name);
        try
        {
            if (key == ImageKey)
                return clip with { ImageFile = SettingsTable.Words(property.Value) };
            var setting = SettingsTable.Find(key)!;
            var read = setting.Read(clip, property.Value);
            return read with { AnySeed = clip.AnySeed || (setting.Name == "seed" && read.Seed is null) };
        }
        catch (FormatException e)
        {
            var text = property.Value.ToString();
            throw new FormatException($"{property.Name} {(text.Length == 0 ? "is empty" : $"cannot be {StrictText.OneLine(text)}")}: {e.Message}", e);
        }
    }

    private static FormatException Unknown(string name) => NearestName.FindTypo(name, Keys) is { } near
        ? new FormatException($"unknown key '{StrictText.OneLine(name)}': did you mean {near}?")
        : new FormatException($"unknown key '{StrictText.OneLine(name)}': use {string.Join(", ", Keys)}");
}
