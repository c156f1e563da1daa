using System.Text.Json;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Generation;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Generating;

/// <summary>Which prompt holds from which second on.</summary>
/// <param name="First">From the beginning; null when the story begins later.</param>
/// <param name="Later">The others.</param>
internal sealed record Story(string? First, IReadOnlyList<PromptChange> Later)
{
    private const string Form = "write {\"0\": \"a red ball\", \"2.5\": \"a blue ball\"}, or [{\"from\": 0, \"prompt\": \"a red ball\"}, ...]";

    /// <summary>Reads a file.</summary>
    /// <exception cref="UsageException">It cannot be read, or is no story.</exception>
    public static Story Read(string path)
    {
        try
        {
            using var json = StrictJson.Parse(StrictText.ReadBytes(path), new StrictJsonOptions(Written: true, RepeatedKeys: true));
            return Of(json.RootElement);
        }
        catch (MalformedTextException e)
        {
            throw new UsageException($"{path}{(e.Line > 0 ? $" line {e.Line}" : "")}: {e.Reason}{(e.IsNoJson ? $"; {Form}" : "")}", e);
        }
        catch (FormatException e)
        {
            throw new UsageException($"{path}: {e.Message}", e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new UsageException($"{path} does not exist: --prompts takes a .json file", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"cannot read {path}: {(Directory.Exists(path) ? "it is a folder" : e.Message)}", e);
        }
    }

    /// <summary>Reads an object of seconds and prompts, or a list of objects with <c>from</c> and <c>prompt</c>.</summary>
    /// <exception cref="FormatException">It is something else.</exception>
    public static Story Of(JsonElement json)
    {
        List<PromptChange> changes = json.ValueKind switch
        {
            JsonValueKind.Object => [.. json.EnumerateObject().Select(entry => new PromptChange(Seconds(entry.Name), ClipJson.Words(entry.Value)))],
            JsonValueKind.Array => [.. json.EnumerateArray().Select(Change)],
            _ => throw new FormatException(Form),
        };
        if (changes.Count == 0)
            throw new FormatException($"there is no prompt: {Form}");
        if (changes.Zip(changes.Skip(1)).FirstOrDefault(pair => pair.First.FromSeconds >= pair.Second.FromSeconds) is { Second: { } wrong })
            throw new FormatException(FormattableString.Invariant($"the prompt from second {wrong.FromSeconds} on stands after one that begins then or later: put them in order, one for each time"));
        return changes[0].FromSeconds == 0 ? new Story(changes[0].Prompt, changes[1..]) : new Story(null, changes);
    }

    private static PromptChange Change(JsonElement entry) =>
        entry.ValueKind == JsonValueKind.Object && entry.TryGetProperty("from", out var from) && entry.TryGetProperty("prompt", out var prompt)
        && entry.EnumerateObject().Count() == 2
            ? new PromptChange(Seconds(from.ToString()), ClipJson.Words(prompt))
            : throw new FormatException(Form);

    private static double Seconds(string text) =>
        PlainNumber.TryReal(text, out var seconds) && seconds >= 0
            ? seconds
            : throw new FormatException($"a prompt cannot begin at '{text}': {Values.Advice(text) ?? "use seconds from 0, such as 2.5"}");
}
