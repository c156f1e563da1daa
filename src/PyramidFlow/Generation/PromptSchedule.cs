using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Generation;

/// <summary>A prompt from a later time on.</summary>
/// <param name="FromSeconds">
/// When it takes over, above 0: seconds from the clip's first frame, or from the first new one where a video is continued. The unit
/// that begins nearest to it is the first one made with it.
/// </param>
/// <param name="Prompt">What the video shows from then on.</param>
public sealed record PromptChange(double FromSeconds, string Prompt);

/// <summary>Which prompt holds from which second on, as people write it in JSON.</summary>
/// <param name="First">The prompt of second 0; null when the schedule begins later.</param>
/// <param name="Later">The others, in order.</param>
internal sealed record PromptSchedule(string? First, IReadOnlyList<PromptChange> Later)
{
    /// <summary>How a schedule is written.</summary>
    public const string Form = "write {\"0\": \"a red ball\", \"2.5\": \"a blue ball\"}, or [{\"from\": 0, \"prompt\": \"a red ball\"}, ...]";

    /// <summary>Reads a text of JSON.</summary>
    /// <exception cref="FormatException">It is no schedule; says how one is written.</exception>
    public static PromptSchedule Parse(string text)
    {
        try
        {
            using var json = StrictJson.Parse(text);
            return Read(json.RootElement);
        }
        catch (MalformedTextException e)
        {
            throw new FormatException(e.IsNoJson ? Form : e.Reason, e);
        }
    }

    /// <summary>Reads an object of seconds and prompts, or a list of objects with <c>from</c> and <c>prompt</c>.</summary>
    /// <exception cref="FormatException">It is no schedule; says how one is written.</exception>
    public static PromptSchedule Read(JsonElement json)
    {
        List<PromptChange> changes = json.ValueKind switch
        {
            JsonValueKind.Object => [.. json.EnumerateObject().Select(entry => new PromptChange(Seconds(entry.Name), SettingsTable.Words(entry.Value)))],
            JsonValueKind.Array => [.. json.EnumerateArray().Select(Change)],
            _ => throw new FormatException(Form),
        };
        if (changes.Count == 0)
            throw new FormatException($"there is no prompt: {Form}");
        if (changes.Zip(changes.Skip(1)).FirstOrDefault(pair => pair.First.FromSeconds >= pair.Second.FromSeconds) is { Second: { } wrong })
            throw new FormatException(FormattableString.Invariant($"the prompt from second {wrong.FromSeconds} on stands after one that begins then or later: put them in order, one for each time"));
        return changes[0].FromSeconds == 0 ? new PromptSchedule(changes[0].Prompt, changes[1..]) : new PromptSchedule(null, changes);
    }

    /// <summary>Writes a list of objects with <c>from</c> and <c>prompt</c>.</summary>
    internal void Write(Utf8JsonWriter writer)
    {
        writer.WriteStartArray();
        foreach (var (seconds, prompt) in First is null ? Later : [new PromptChange(0, First), .. Later])
        {
            writer.WriteStartObject();
            writer.WriteNumber("from", seconds);
            writer.WriteString("prompt", prompt);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    /// <summary>The schedule as JSON.</summary>
    public override string ToString() => ReadableJson.Write(Write);

    private static PromptChange Change(JsonElement entry) =>
        entry.ValueKind == JsonValueKind.Object && entry.TryGetProperty("from", out var from) && entry.TryGetProperty("prompt", out var prompt)
        && entry.EnumerateObject().Count() == 2
            ? new PromptChange(Seconds(from.ToString()), SettingsTable.Words(prompt))
            : throw new FormatException(Form);

    private static double Seconds(string text) =>
        PlainNumber.TryReal(text, out var seconds) && seconds >= 0
            ? seconds
            : throw new FormatException($"a prompt cannot begin at '{text}': {(PlainNumber.Advice(text) is { Length: > 0 } advice ? advice : "use seconds from 0, such as 2.5")}");
}
