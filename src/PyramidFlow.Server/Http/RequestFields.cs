using System.Text.Json;
using PyramidFlow.Generation;
using PyramidFlow.Scheduling.Solvers;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Http;

/// <summary>The fields of a request, from JSON or a form, each of a kind that it may have.</summary>
/// <param name="known">The fields that there may be.</param>
internal sealed class RequestFields(KnownFields known)
{
    private const int LongestShown = 40;
    private readonly Dictionary<string, JsonElement> values = new(StringComparer.Ordinal);

    /// <summary>Adds the fields of an object, and those of the objects in it that hold further ones.</summary>
    /// <param name="json">The object; null values are left out.</param>
    /// <exception cref="JobException">It is no object, a field is unknown, stands twice, or is of the wrong type.</exception>
    public void Add(JsonElement json)
    {
        Take(json, "the body");
        foreach (var name in KnownFields.Further)
        {
            if (values.Remove(name, out var further))
                Take(Structure(name, further), name);
        }
    }

    /// <summary>Whether a field was given.</summary>
    public bool Has(string name) => values.ContainsKey(name);

    /// <summary>A text.</summary>
    public string? Text(string name) => values.TryGetValue(name, out var value) ? value.GetString() : null;

    /// <summary>A whole number.</summary>
    public int? Whole(string name) => Parsed<int>(name, "a whole number, such as 9", text => PlainNumber.TryWhole(text, out var value) && value is >= int.MinValue and <= int.MaxValue ? (int)value : null);

    /// <summary>A number.</summary>
    public double? Number(string name, string such) => Parsed<double>(name, $"a number, such as {such}", text => PlainNumber.TryReal(text, out var value) ? value : null);

    /// <summary>A seed; -1 and nothing are any.</summary>
    public ulong? Seed(string name) => PlainNumber.TryWhole(Written(name), out var whole) && whole == -1 ? null
        : Parsed<ulong>(name, "a whole number from 0, or -1 for any", text => PlainNumber.TryUnsigned(text, out var value) ? value : null);

    /// <summary>Width and height.</summary>
    public (int Width, int Height)? Size(string name)
    {
        return Parsed<(int, int)>(name, "WIDTHxHEIGHT, such as 640x384", text => text.Split('x', 'X') is [var width, var height] && Side(width) is { } w && Side(height) is { } h ? (w, h) : null);

        static int? Side(string text) => PlainNumber.TryWhole(text, out var side) && side is >= 0 and <= int.MaxValue ? (int)side : null;
    }

    /// <summary>The solver that integrates the flow.</summary>
    public IFlowSolver? Solver(string name) => Written(name) is { Length: > 0 } written
        ? FlowSolvers.Find(written) ?? throw Wrong(name, written, FlowSolvers.Choices)
        : null;

    /// <summary>Steps of each stage: one number for all, or a list.</summary>
    public IReadOnlyList<int>? Steps(string name, int stages)
    {
        const string form = "a whole number, or a list with one for each stage";
        if (Written(name) is not { Length: > 0 } written)
            return null;
        var steps = new List<int>();
        foreach (var part in values[name] is { ValueKind: JsonValueKind.Array } list ? list.EnumerateArray().Select(Plain) : written.Trim().TrimStart('[').TrimEnd(']').Split(','))
            steps.Add(PlainNumber.TryWhole(part, out var count) && count is >= 0 and <= int.MaxValue ? (int)count : throw Wrong(name, written, form));
        return steps is [var every] ? [.. Enumerable.Repeat(every, stages)] : steps;
    }

    /// <summary>Prompts that take over later: <c>[{"from": 2, "prompt": "..."}]</c>.</summary>
    public IReadOnlyList<PromptChange> Schedule(string name)
    {
        const string form = "a list such as [{\"from\": 2, \"prompt\": \"...\"}], seconds and text";
        if (Written(name) is not { Length: > 0 } written)
            return [];
        var list = Structure(name, values[name]);
        if (list.ValueKind != JsonValueKind.Array)
            throw Wrong(name, written, form);
        return [.. list.EnumerateArray().Select(Change)];

        PromptChange Change(JsonElement item)
        {
            if (item.ValueKind != JsonValueKind.Object || !item.TryGetProperty("from", out var from) || !item.TryGetProperty("prompt", out var prompt) || prompt.ValueKind != JsonValueKind.String)
                throw Wrong(name, written, form);
            if (item.EnumerateObject().FirstOrDefault(member => member.Name is not ("from" or "prompt")) is { Value.ValueKind: not JsonValueKind.Undefined } other)
                throw new JobException(JobFault.Invalid, $"unknown field {Short(other.Name)} in {name}: use from and prompt") { Parameter = name };
            return new PromptChange(PlainNumber.TryReal(Plain(from), out var seconds) ? seconds : throw Wrong(name, Plain(from) ?? "", "seconds, such as 2.5"), prompt.GetString()!);
        }
    }

    /// <summary>The id in <c>{"id": "..."}</c>; what else stands beside it counts for nothing, so that a whole video can be given.</summary>
    public string? ReferredId(string name)
    {
        if (Written(name) is not { Length: > 0 } written)
            return null;
        var reference = Structure(name, values[name]);
        return reference.ValueKind == JsonValueKind.Object && reference.TryGetProperty("id", out var id) && id.ValueKind == JsonValueKind.String
            ? id.GetString()
            : throw Wrong(name, written, "an object with an id");
    }

    private void Take(JsonElement json, string what)
    {
        if (json.ValueKind != JsonValueKind.Object)
            throw new JobException(JobFault.Invalid, $"{what} is not a JSON object") { Parameter = known.Has(what) ? what : null };
        foreach (var field in json.EnumerateObject())
        {
            CheckKind(field.Name, field.Value, known.KindOf(field.Name));
            if (KnownFields.Further.Contains(what) && (KnownFields.Further.Contains(field.Name) || field.Name == KnownFields.Reference))
                throw new JobException(JobFault.Invalid, $"{field.Name} belongs into the body itself, not into {what}") { Parameter = field.Name };
            if (field.Value.ValueKind != JsonValueKind.Null && !values.TryAdd(field.Name, field.Value))
                throw Twice(field.Name);
        }
    }

    /// <summary>The error for a field that stands more than once.</summary>
    public static JobException Twice(string name) => new(JobFault.Invalid, $"the field {Short(name)} stands twice: leave one out") { Parameter = Short(name) };

    private static void CheckKind(string name, JsonElement value, FieldKind kind)
    {
        var (fits, form) = (kind, value.ValueKind) switch
        {
            (_, JsonValueKind.Null) => (true, ""),
            (FieldKind.Text, var given) => (given == JsonValueKind.String, "a text in quotes"),
            (FieldKind.Number, var given) => (given is JsonValueKind.Number or JsonValueKind.String, "a number"),
            (FieldKind.Numbers, JsonValueKind.Array) => (value.EnumerateArray().All(item => item.ValueKind is JsonValueKind.Number or JsonValueKind.String), "a number, or a list of numbers"),
            (FieldKind.Numbers, var given) => (given is JsonValueKind.Number or JsonValueKind.String, "a number, or a list of numbers"),
            (FieldKind.List, var given) => (given is JsonValueKind.Array or JsonValueKind.String, "a list"),
            (FieldKind.Object, var given) => (given is JsonValueKind.Object or JsonValueKind.String, "an object"),
            (_, JsonValueKind.Object) => (IsReference(value), "a data URL, or an object with one as image_url"),
            (_, var given) => (given == JsonValueKind.String, "a data URL, or an object with one as image_url"),
        };
        if (!fits)
            throw new JobException(JobFault.Invalid, $"{name} cannot be {Described(value)}: it is {form}") { Parameter = name };
    }

    private static bool IsReference(JsonElement value) =>
        value.TryGetProperty("image_url", out var url) && url.ValueKind == JsonValueKind.String
        && value.EnumerateObject().All(member => member.Name == "image_url" || member is { Name: "file_id", Value.ValueKind: JsonValueKind.Null });

    // A text that stands for a list or an object.
    private static JsonElement Structure(string name, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.String)
            return value;
        try
        {
            using var json = StrictJson.Parse(value.GetString()!);
            return json.RootElement.Clone();
        }
        catch (MalformedTextException e)
        {
            throw new JobException(JobFault.Invalid, $"{name} is not JSON: {e.Reason}", e) { Parameter = e.Key ?? name };
        }
    }

    private string? Written(string name) => values.TryGetValue(name, out var value) ? Plain(value) : null;

    private static string? Plain(JsonElement value) => value.ValueKind == JsonValueKind.String ? value.GetString() : value.GetRawText();

    private T? Parsed<T>(string name, string form, Func<string, T?> parse)
        where T : struct => Written(name) is not { Length: > 0 } text ? null : parse(text) ?? throw Wrong(name, text, form);

    private static JobException Wrong(string name, string text, string form) =>
        new(JobFault.Invalid, $"{name} cannot be \"{Short(text)}\": {(PlainNumber.Advice(text) is { Length: > 0 } advice ? advice : $"it is {form}")}") { Parameter = name };

    private static string Described(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => "such an object",
        JsonValueKind.Array => "such a list",
        JsonValueKind.String => "a text",
        JsonValueKind.Number => "a number",
        _ => value.GetRawText(),
    };

    private static string Short(string text) => StrictText.OneLine(text, LongestShown);
}
