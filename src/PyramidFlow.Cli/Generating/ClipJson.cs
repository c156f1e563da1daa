using System.Text.Json;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Generating;

/// <summary>Settings of a clip written as a JSON object: an item of a batch, or what a file says about itself.</summary>
internal static class ClipJson
{
    private delegate ClipArguments Setter(ClipArguments clip, JsonElement value);

    private static readonly Dictionary<string, Setter> Setters = new()
    {
        ["prompt"] = (clip, value) => clip with { Prompt = Words(value) },
        ["negative"] = (clip, value) => clip with { Negative = Words(value) },
        ["negative_prompt"] = (clip, value) => clip with { Negative = Words(value) },
        ["suffix"] = (clip, value) => clip with { Suffix = Words(value) },
        ["prompt_suffix"] = (clip, value) => clip with { Suffix = Words(value) },
        ["prompts"] = (clip, value) => Told(clip, Story.Of(value)),
        ["image"] = (clip, value) => clip with { Image = Words(value) },
        ["sample_image"] = (clip, value) => clip with { SampleImage = Values.Flag(Text(value)) },
        ["frames"] = (clip, value) => clip with { Frames = Values.Whole(Text(value), 1) },
        ["seconds"] = (clip, value) => clip with { Seconds = Values.Number(Text(value), zero: false) },
        ["size"] = (clip, value) => clip with { Size = Values.Size(Text(value)) },
        ["width"] = (clip, value) => clip with { Size = new FrameSize(Values.Whole(Text(value), 1), clip.Size?.Height ?? 0) },
        ["height"] = (clip, value) => clip with { Size = new FrameSize(clip.Size?.Width ?? 0, Values.Whole(Text(value), 1)) },
        ["steps"] = (clip, value) => clip with { Steps = Values.Steps(Text(value)) },
        ["video_steps"] = (clip, value) => clip with { VideoSteps = Values.Steps(Text(value)) },
        ["guidance"] = (clip, value) => clip with { Guidance = Values.Number(Text(value), zero: true) },
        ["video_guidance"] = (clip, value) => clip with { VideoGuidance = Values.Number(Text(value), zero: true) },
        ["linear_guidance"] = (clip, value) => clip with { LinearGuidance = Values.LinearGuidance(Text(value)) },
        ["frames_per_unit"] = (clip, value) => clip with { FramesPerUnit = Values.Whole(Text(value), 1) },
        ["history"] = (clip, value) => clip with { History = Values.Whole(Text(value), 0) },
        ["reuse_prefix"] = (clip, value) => clip with { ReusePrefix = Values.Whole(Text(value), 1) },
        ["guidance_every"] = (clip, value) => clip with { GuidanceEvery = Values.Whole(Text(value), 1) },
        ["solver"] = (clip, value) => clip with { Solver = Values.Solver(Text(value)) },
        ["seed"] = (clip, value) => Values.SeedOrAny(Text(value)) is var choice ? clip with { Seed = choice.Seed, AnySeed = choice.Seed is null } : clip,
    };

    /// <summary>Reads an object.</summary>
    /// <param name="item">The object; a value of null is left out.</param>
    /// <param name="other">Takes keys that are not settings of a clip; false says that it does not know one either.</param>
    /// <exception cref="FormatException">A key or value is impossible; says what would do.</exception>
    public static ClipArguments Read(JsonElement item, Func<string, JsonElement, bool> other)
    {
        var clip = new ClipArguments();
        var seen = new HashSet<string>();
        foreach (var property in item.EnumerateObject())
        {
            var key = property.Name.Replace('-', '_');
            if (!seen.Add(key))
                throw new FormatException($"{property.Name} stands twice: leave one out");
            if (property.Value.ValueKind == JsonValueKind.Null)
                continue;
            try
            {
                if (Setters.TryGetValue(key, out var set))
                    clip = set(clip, property.Value);
                else if (!other(key, property.Value))
                    throw Unknown(property.Name);
            }
            catch (FormatException e) when (Setters.ContainsKey(key))
            {
                var text = property.Value.ToString();
                throw new FormatException($"{property.Name} {(text.Length == 0 ? "is empty" : $"cannot be {StrictText.OneLine(text)}")}: {e.Message}", e);
            }
        }

        return clip.Size is { } size && (size.Width == 0 || size.Height == 0)
            ? throw new FormatException($"{(size.Width == 0 ? "height" : "width")} needs a {(size.Width == 0 ? "width" : "height")} beside it")
            : clip;
    }

    /// <summary>A text.</summary>
    /// <exception cref="FormatException">It is something else.</exception>
    public static string Words(JsonElement value) => value.ValueKind != JsonValueKind.String ? throw new FormatException("write a text in quotes")
        : value.GetString()!.Contains('\0', StringComparison.Ordinal) ? throw new FormatException("it holds a NUL character: leave that out")
        : value.GetString()!;

    private static ClipArguments Told(ClipArguments clip, Story story) => clip with { Prompt = clip.Prompt ?? story.First, Later = story.Later };

    private static FormatException Unknown(string name) => NearestName.FindTypo(name, Setters.Keys) is { } near
        ? new FormatException($"unknown key '{StrictText.OneLine(name)}': did you mean {near}?")
        : new FormatException($"unknown key '{StrictText.OneLine(name)}': use {string.Join(", ", Setters.Keys)}");

    // As it would stand on a command line, so that there is one reading of every value.
    private static string Text(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString()!,
        JsonValueKind.Array => string.Join(',', value.EnumerateArray().Select(part => part.ToString())),
        _ => value.ToString(),
    };
}
