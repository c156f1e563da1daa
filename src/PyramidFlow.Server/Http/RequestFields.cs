using System.Text.Json;
using PyramidFlow.Generation;
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

    /// <summary>Whether a flag is set.</summary>
    public bool IsTrue(string name) => values.TryGetValue(name, out var value) && (value.ValueKind == JsonValueKind.True || (value.ValueKind == JsonValueKind.String && value.GetString() == "true"));

    /// <summary>Leaves a field out that holds a word for the default.</summary>
    public void LeaveOut(string name, string word)
    {
        if (values.TryGetValue(name, out var value) && value.ValueKind == JsonValueKind.String && value.GetString() == word)
            values.Remove(name);
    }

    /// <summary>A whole number.</summary>
    public int? Whole(string name) => Parsed<int>(name, "a whole number, such as 9", text => PlainNumber.TryWhole(text, out var value) && value is >= int.MinValue and <= int.MaxValue ? (int)value : null);

    /// <summary>A request with the value of a setting, where the field was given.</summary>
    /// <param name="name">The field.</param>
    /// <param name="setting">Says what the field may hold.</param>
    /// <param name="request">The request so far.</param>
    /// <exception cref="JobException">The value is impossible; says what to use.</exception>
    public VideoRequest Read(string name, Setting setting, VideoRequest request)
    {
        if (!values.TryGetValue(name, out var value) || (!setting.Type.IsText && value.ValueKind == JsonValueKind.String && value.GetString()!.Length == 0))
            return request;
        try
        {
            return setting.Read(request, value);
        }
        catch (FormatException e)
        {
            throw ServiceFault.ValueInvalid(name, value.ValueKind is JsonValueKind.String or JsonValueKind.Number ? Short(value.ToString()) : Described(value), e.Message, e);
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
            throw ServiceFault.NotObject(what, known.Has(what));
        foreach (var field in json.EnumerateObject())
        {
            CheckKind(field.Name, field.Value, known.KindOf(field.Name));
            if (KnownFields.Further.Contains(what) && (KnownFields.Further.Contains(field.Name) || field.Name == KnownFields.Reference))
                throw ServiceFault.FieldMisplaced(field.Name, what);
            if (field.Value.ValueKind != JsonValueKind.Null && !values.TryAdd(field.Name, field.Value))
                throw Twice(field.Name);
        }
    }

    /// <summary>The error for a field that stands more than once.</summary>
    public static JobException Twice(string name) => ServiceFault.FieldTwice(Short(name));

    private static void CheckKind(string name, JsonElement value, FieldKind kind)
    {
        var (fits, form) = (kind, value.ValueKind) switch
        {
            (_, JsonValueKind.Null) or (FieldKind.Setting, _) => (true, ""),
            (FieldKind.Text, var given) => (given == JsonValueKind.String, "a text in quotes"),
            (FieldKind.Number, var given) => (given is JsonValueKind.Number or JsonValueKind.String, "a number"),
            // In a form it is a text.
            (FieldKind.Flag, var given) => (given is JsonValueKind.True or JsonValueKind.False || (given == JsonValueKind.String && value.GetString() is "true" or "false"), "true or false"),
            (FieldKind.Object, var given) => (given is JsonValueKind.Object or JsonValueKind.String, "an object"),
            (_, JsonValueKind.Object) => (IsReference(value), "a data URL, or an object with one as image_url"),
            (_, var given) => (given == JsonValueKind.String, "a data URL, or an object with one as image_url"),
        };
        if (!fits)
            throw ServiceFault.ValueInvalid(name, Described(value), $"it is {form}");
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
            throw ServiceFault.FieldNotJson(name, e);
        }
    }

    private string? Written(string name) => values.TryGetValue(name, out var value) ? Plain(value) : null;

    private static string? Plain(JsonElement value) => value.ValueKind == JsonValueKind.String ? value.GetString() : value.GetRawText();

    private T? Parsed<T>(string name, string form, Func<string, T?> parse)
        where T : struct => Written(name) is not { Length: > 0 } text ? null : parse(text) ?? throw Wrong(name, text, form);

    private static JobException Wrong(string name, string text, string form) =>
        ServiceFault.ValueInvalid(name, $"\"{Short(text)}\"", PlainNumber.Advice(text) is { Length: > 0 } advice ? advice : $"it is {form}");

    private static string Described(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => "such an object",
        JsonValueKind.Array => "such a list",
        JsonValueKind.String => "a text",
        JsonValueKind.Number => "a number",
        _ => value.GetRawText(),
    };

    /// <summary>The beginning of a text, in one line.</summary>
    public static string Short(string text) => StrictText.OneLine(text, LongestShown);
}
