using System.Globalization;
using System.Text.Json;
using PyramidFlow.Pipelines;
using PyramidFlow.Schedulers;
using PyramidFlow.Server.Jobs;

namespace PyramidFlow.Server.Rest;

/// <summary>The fields of a request, from JSON or a form, as texts. Names that nobody knows are left alone: clients add their own.</summary>
internal sealed class RequestFields
{
    private readonly Dictionary<string, string> texts = new(StringComparer.Ordinal);

    /// <summary>Sets a field.</summary>
    public void Set(string name, string text) => texts[name] = text;

    /// <summary>Sets the fields of a JSON object; numbers and lists as they are written.</summary>
    /// <exception cref="JobException">It is no object.</exception>
    public void Set(JsonElement json, string what)
    {
        if (json.ValueKind != JsonValueKind.Object)
            throw new JobException(JobFault.Invalid, $"{what} is not a JSON object");
        foreach (var field in json.EnumerateObject().Where(field => field.Value.ValueKind != JsonValueKind.Null))
            Set(field.Name, field.Value.ValueKind == JsonValueKind.String ? field.Value.GetString()! : field.Value.GetRawText());
    }

    public string? Text(string name) => texts.TryGetValue(name, out var text) ? text : null;

    /// <summary>A whole number.</summary>
    public int? Whole(string name) => Parsed<int>(name, "a whole number, such as 9", text =>
        int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) ? value : null);

    /// <summary>A number.</summary>
    public double? Number(string name, string such) => Parsed<double>(name, $"a number, such as {such}", text =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value) ? value : null);

    /// <summary>A seed; -1 and nothing are any.</summary>
    public ulong? Seed(string name) => Text(name) == "-1" ? null : Parsed<ulong>(name, "a whole number from 0, or -1 for any", text =>
        ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : null);

    /// <summary>Width and height.</summary>
    public (int Width, int Height)? Size(string name) => Parsed<(int, int)>(name, "WIDTHxHEIGHT, such as 640x384", text =>
        text.Split('x', 'X') is [var width, var height]
        && int.TryParse(width, NumberStyles.None, CultureInfo.InvariantCulture, out var w) && int.TryParse(height, NumberStyles.None, CultureInfo.InvariantCulture, out var h)
            ? (w, h) : null);

    /// <summary>How the flow is followed.</summary>
    public FlowSolver? Solver(string name) => Parsed<FlowSolver>(name, string.Join(" or ", FlowSolverNames.All.Keys),
        text => FlowSolverNames.All.TryGetValue(text, out var solver) ? solver : null);

    /// <summary>Steps of each stage: one number for all, or a list.</summary>
    public IReadOnlyList<int>? Steps(string name, int stages)
    {
        var steps = Parsed<int[]>(name, "a whole number, or a list with one for each stage", text =>
        {
            var numbers = new List<int>();
            foreach (var part in text.Trim().TrimStart('[').TrimEnd(']').Split(','))
            {
                if (!int.TryParse(part.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                    return null;
                numbers.Add(number);
            }

            return [.. numbers];
        });
        return steps is [var every] ? [.. Enumerable.Repeat(every, stages)] : steps;
    }

    /// <summary>Prompts that take over later: <c>[{"from": 2, "prompt": "..."}]</c>.</summary>
    public IReadOnlyList<PromptChange> Schedule(string name) => Parsed<PromptChange[]>(name, "a list such as [{\"from\": 2, \"prompt\": \"...\"}], seconds and text", text =>
    {
        try
        {
            using var json = JsonDocument.Parse(text);
            return [.. json.RootElement.EnumerateArray().Select(change => new PromptChange(change.GetProperty("from").GetDouble(), change.GetProperty("prompt").GetString()!))];
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException or FormatException)
        {
            return null;
        }
    }) ?? [];

    /// <summary>The id in <c>{"id": "..."}</c>, or in a form's <c>name[id]</c>.</summary>
    public string? ReferredId(string name) => Text($"{name}[id]") ?? Parsed<string>(name, "an object with an id", text =>
    {
        try
        {
            using var json = JsonDocument.Parse(text);
            return json.RootElement.ValueKind == JsonValueKind.Object && json.RootElement.TryGetProperty("id", out var id) ? id.GetString() : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    });

    private T? Parsed<T>(string name, string form, Func<string, T?> parse)
        where T : struct => Text(name) is not { Length: > 0 } text ? null : parse(text) ?? throw Wrong(name, text, form);

    private T? Parsed<T>(string name, string form, Func<string, T?> parse)
        where T : class => Text(name) is not { Length: > 0 } text ? null : parse(text) ?? throw Wrong(name, text, form);

    private static JobException Wrong(string name, string text, string form) =>
        new(JobFault.Invalid, $"{name} cannot be \"{(text.Length > 40 ? text[..40] + "..." : text)}\": it is {form}") { Parameter = name };
}
