using System.Text.Json;

namespace PyramidFlow.Generation;

/// <summary>Section of <c>--help</c> in which a setting stands.</summary>
internal enum SettingGroup
{
    /// <summary>Length and size of the video.</summary>
    Size,

    /// <summary>What the video shows.</summary>
    Content,

    /// <summary>How it is sampled.</summary>
    Sampling,

    /// <summary>Savings that change the result a little.</summary>
    Approximations,
}

/// <summary>
/// One setting of a generation on every surface: its names, its type, its help, and where <see cref="GenerationOptions"/> keeps it. Command
/// line, batch files, REST, OpenAPI document, notes in files, page and job echo are derived from it.
/// </summary>
/// <param name="name">Key in batch files and notes, such as <c>video_steps</c>.</param>
/// <param name="type">Form of its values.</param>
/// <param name="get">Reads it; null is left out.</param>
/// <param name="set">Options with another value.</param>
internal sealed class Setting(string name, SettingType type, Func<GenerationOptions, object?> get, Func<GenerationOptions, object?, GenerationOptions> set)
{
    /// <summary>Key in batch files, JSON prompts and the notes of a file.</summary>
    public string Name => name;

    /// <summary>Form of its values.</summary>
    public SettingType Type => type;

    /// <summary>Other keys that batch files may use.</summary>
    public IReadOnlyList<string> Aliases { get; init; } = [];

    /// <summary>Option of the command line, such as <c>--video-steps</c>; null is none.</summary>
    public string? Option { get; init; }

    /// <summary>Field of REST, such as <c>guidance_scale</c>; null is none.</summary>
    public string? Field { get; init; }

    /// <summary>Label of its input among the further settings of the page, which follow from the table; null where the page has another input for it, or none.</summary>
    public string? Label { get; init; }

    /// <summary>Section of the help.</summary>
    public SettingGroup Group { get; init; } = SettingGroup.Sampling;

    /// <summary>What it does, for the help and the OpenAPI document: lower case, no full stop.</summary>
    public required string Help { get; init; }

    /// <summary>The same where a video is continued; null is <see cref="Help"/>.</summary>
    public string? ExtendHelp { get; init; }

    /// <summary>What holds when it is left out, for people; empty is nothing to say.</summary>
    public string Default { get; init; } = "";

    /// <summary>The value that means the same as leaving it out; it is not noted.</summary>
    public object? Usual { get; init; }

    /// <summary>Value of an option that is given without one; null requires a value.</summary>
    public object? Bare { get; init; }

    /// <summary>Whether the notes of a file hold it.</summary>
    public bool IsNoted { get; init; } = true;

    /// <summary>Settings that replace this one: where one of them is given, this is not taken from elsewhere.</summary>
    public IReadOnlyList<string> ReplacedBy { get; init; } = [];

    /// <summary>Its value; null where it is left out.</summary>
    public object? Get(GenerationOptions options) => get(options);

    /// <summary>Options with another value, of the same type of record.</summary>
    /// <param name="options">The others.</param>
    /// <param name="value">A value of <see cref="Type"/>; null leaves it out.</param>
    public T Set<T>(T options, object? value)
        where T : GenerationOptions => (T)set(options, value);

    /// <summary>Options with a value as people write it.</summary>
    /// <exception cref="FormatException">The value is impossible; the message says what to use.</exception>
    public T Parse<T>(T options, string text)
        where T : GenerationOptions => Set(options, type.Parse(text));

    /// <summary>Options with a value from JSON.</summary>
    /// <exception cref="FormatException">The value is impossible; the message says what to use.</exception>
    public T Read<T>(T options, JsonElement value)
        where T : GenerationOptions => Set(options, type.Read(value));

    /// <summary>The value as people write it; empty where it is left out.</summary>
    public string Text(GenerationOptions options) => Get(options) is { } value ? type.Format(value) : "";

    /// <summary>Whether two options have the same value.</summary>
    public bool IsSame(GenerationOptions one, GenerationOptions other) => Text(one) == Text(other) && Get(one) is null == Get(other) is null;

    /// <inheritdoc/>
    public override string ToString() => name;
}

/// <summary>Form of a setting's values: how people and JSON write them.</summary>
/// <param name="schema">Type in a JSON schema: string, integer, number, boolean or array.</param>
/// <param name="parse">From a text; throws a <see cref="FormatException"/> that says what to use.</param>
/// <param name="format">To a text that <paramref name="parse"/> reads.</param>
/// <param name="write">To JSON.</param>
internal sealed class SettingType(string schema, Func<string, object?> parse, Func<object, string> format, Action<Utf8JsonWriter, object> write)
{
    /// <summary>Placeholder of a value in the help, such as <c>N</c>; empty for a flag.</summary>
    public string ValueName { get => Choices is { } names ? string.Join('|', names) : field; init; } = "";

    /// <summary>Type in a JSON schema.</summary>
    public string Schema => schema;

    /// <summary>The values there are, such as the solvers registered so far; null is any of the type.</summary>
    public IReadOnlyList<string>? Choices => ReadChoices?.Invoke();

    /// <summary>Reads the values there are.</summary>
    internal Func<IReadOnlyList<string>>? ReadChoices { get; init; }

    /// <summary>Least and most value; null is open. A positive number has a least value of 0, which itself is refused.</summary>
    public (double? Least, double? Most) Range { get; init; }

    /// <summary>Whether it is true or false.</summary>
    public bool IsFlag => schema == "boolean";

    /// <summary>Whether it is free text, so that an empty one is a value.</summary>
    public bool IsText => schema == "string" && ReadChoices is null && !IsCompact;

    /// <summary>Whether it is a text of a fixed form, such as 640x384.</summary>
    internal bool IsCompact { get; init; }

    /// <summary>Reads a list or an object; null where JSON holds none.</summary>
    internal Func<JsonElement, object>? ReadStructure { get; init; }

    /// <summary>The value of a text.</summary>
    /// <exception cref="FormatException">The value is impossible; the message says what to use.</exception>
    public object? Parse(string text) => parse(text);

    /// <summary>A text with this value.</summary>
    public string Format(object value) => format(value);

    /// <summary>Writes a value as JSON.</summary>
    public void Write(Utf8JsonWriter writer, object value) => write(writer, value);

    /// <summary>The value of a JSON element: a text, a number, or a list or object of this type.</summary>
    /// <exception cref="FormatException">The value is impossible; the message says what to use.</exception>
    public object? Read(JsonElement value)
    {
        if (IsText)
            return SettingsTable.Words(value);
        if (ReadStructure is not null && value.ValueKind is JsonValueKind.Array or JsonValueKind.Object)
            return ReadStructure(value);
        return value.ValueKind switch
        {
            JsonValueKind.String => parse(value.GetString()!),
            JsonValueKind.Array when schema == "array" => parse(string.Join(',', value.EnumerateArray().Select(part => part.ToString()))),
            // The sentence of the type itself, which no list or object fits.
            JsonValueKind.Array or JsonValueKind.Object => parse("[]"),
            JsonValueKind.True or JsonValueKind.False when !IsFlag => parse(""),
            _ => parse(value.GetRawText()),
        };
    }
}
