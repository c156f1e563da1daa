using System.CommandLine;
using System.CommandLine.Parsing;
using PyramidFlow.Generation;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Terminal;

/// <summary>Options whose error messages name the option, the value and the fix.</summary>
internal static class CliOptions
{
    /// <summary>The option of every command that shows the whole of an error.</summary>
    public const string Verbose = "--verbose";

    public static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    public static Option<string?> Text(string name, string valueName, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, HelpName = valueName };

    public static Option<string?> Choice(string name, string description, params string[] choices)
    {
        var option = Parsed<string?>(name, string.Join('|', choices), description, text => Values.Choice(text, choices));
        option.CompletionSources.Add(choices);
        return option;
    }

    public static Option<int?> Whole(string name, string valueName, string description, int least, int most = int.MaxValue) =>
        Parsed<int?>(name, valueName, description, text => Values.Whole(text, least) is var value && value <= most
            ? value
            : throw new FormatException($"use a whole number from {least} to {most}"));

    public static Option<double?> Number(string name, string valueName, string description, bool zero) =>
        Parsed<double?>(name, valueName, description, text => Values.Number(text, zero));

    public static Option<long?> Memory(string name, string description, bool zero = false) =>
        Parsed<long?>(name, "8GB", description, text => zero && text.Trim() == "0" ? 0 : Values.Bytes(text));

    public static Option<ulong?> Seed(string name, string description) =>
        Parsed<ulong?>(name, "NUMBER", description, text => Values.Seed(text));

    public static Option<IReadOnlyList<int>?> Steps(string name, string description) =>
        Parsed<IReadOnlyList<int>?>(name, "N,N,N", description, Values.Steps);

    public static Option<FrameSize?> Size(string name, string description) =>
        Parsed<FrameSize?>(name, "WxH", description, text => FrameSize.Parse(text));

    public static Option<IReadOnlyList<string>?> Sizes(string name, string description) =>
        Parsed<IReadOnlyList<string>?>(name, "WxH,WxH", description, Values.Sizes);

    public static Option<IReadOnlyList<int>?> Lengths(string name, string description) =>
        Parsed<IReadOnlyList<int>?>(name, "N,N", description, Values.Lengths);

    public static Option<(int Part, int Parts)?> Part(string name, string description) =>
        Parsed<(int, int)?>(name, "I/N", description, text => Values.Part(text));

    /// <summary>The option of a setting of a generation.</summary>
    /// <param name="setting">Has an option.</param>
    /// <param name="extends">Whether the command continues a video.</param>
    public static Option Setting(Setting setting, bool extends = false)
    {
        var help = (extends ? setting.ExtendHelp : null) ?? setting.Help;
        var description = setting.Default.Length == 0 ? help : $"{help} [default: {setting.Default}]";
        if (setting.Type.IsFlag)
            return Flag(setting.Option!, description);
        var option = Parsed<SettingValue?>(setting.Option!, setting.Type.ValueName, description, text => new SettingValue(setting.Type.Parse(text)),
            setting.Bare is { } bare ? new SettingValue(bare) : null);
        if (setting.Bare is not null)
            option.Arity = ArgumentArity.ZeroOrOne;
        if (setting.Type.Choices is { } choices)
            option.CompletionSources.Add([.. choices]);
        return option;
    }

    /// <summary>An option that may be given several times.</summary>
    public static Option<IReadOnlyList<T>?> Several<T>(string name, string valueName, string description, Func<string, T> parse)
    {
        IReadOnlyList<T>? Parse(ArgumentResult result)
        {
            var values = new List<T>();
            foreach (var token in result.Tokens)
            {
                try
                {
                    values.Add(parse(token.Value));
                }
                catch (FormatException e)
                {
                    result.AddError(Fault(name, token.Value, e));
                    return null;
                }
            }

            return values;
        }

        return new Option<IReadOnlyList<T>?>(name) { Description = description, HelpName = valueName, Arity = ArgumentArity.OneOrMore, CustomParser = Parse };
    }

    private static Option<T> Parsed<T>(string name, string valueName, string description, Func<string, T> parse, T? usual = default)
    {
        T? Parse(ArgumentResult result)
        {
            if (result.Tokens is not [{ Value: var text }, ..])
                return usual;
            try
            {
                return parse(text);
            }
            catch (FormatException e)
            {
                result.AddError(Fault(name, text, e));
                return default;
            }
        }

        return new Option<T>(name)
        {
            Description = description,
            HelpName = valueName,
            Arity = ArgumentArity.ExactlyOne,
            CustomParser = Parse,
        };
    }

    private static string Fault(string name, string text, FormatException e) =>
        $"{name} {(text.Length == 0 ? "is empty" : $"cannot be {text}")}: {e.Message}";
}

/// <summary>Parses values of options. Error messages begin with "use ...".</summary>
internal static class Values
{
    /// <exception cref="FormatException">It is none of the choices.</exception>
    public static string Choice(string text, params string[] choices) => choices.Contains(text)
        ? text
        : throw new FormatException($"use {string.Join(", ", choices)}");

    /// <exception cref="FormatException">It is no whole number or too small.</exception>
    public static int Whole(string text, int least, string more = "") => SettingsTable.Whole(text, least, more);

    /// <param name="text">What was written.</param>
    /// <param name="zero">Whether 0 is allowed.</param>
    /// <exception cref="FormatException">It is no number, or negative.</exception>
    public static double Number(string text, bool zero) =>
        PlainNumber.TryReal(text, out var value) && (zero ? value >= 0 : value > 0)
            ? value
            : throw new FormatException(Advice(text) ?? (zero ? "use 0 (off) or a positive number" : "use a positive number"));

    /// <summary>Bytes of such as <c>8GB</c>, <c>7.5 GB</c> or <c>800MB</c>; a GB is 10^9 bytes, a GiB 2^30.</summary>
    /// <exception cref="FormatException">It is no positive amount with a unit.</exception>
    public static long Bytes(string text)
    {
        var unit = text.TrimStart([.. "0123456789., "]).ToLowerInvariant();
        var factor = unit switch { "mb" or "m" => 1e6, "gb" or "g" => 1e9, "mib" => 1 << 20, "gib" => 1 << 30, _ => 0 };
        var amount = text[..^unit.Length];
        return PlainNumber.TryReal(amount, out var count) && count * factor is >= 1 and < 1e18
            ? (long)(count * factor)
            : throw new FormatException(Advice(amount) ?? "use an amount with MB or GB, such as 8GB");
    }

    /// <exception cref="FormatException">It is no whole number from 0.</exception>
    public static ulong Seed(string text) => PlainNumber.TryUnsigned(text, out var value)
        ? value
        : throw new FormatException("use a whole number from 0");

    /// <exception cref="FormatException">Some part is no whole number from 1.</exception>
    public static IReadOnlyList<int> Steps(string text) => (IReadOnlyList<int>)SettingsTable.Find("steps")!.Type.Parse(text)!;

    /// <exception cref="FormatException">Some part is not such as 640x384.</exception>
    public static IReadOnlyList<string> Sizes(string text) =>
        [.. text.Split(',').Select(part => $"{FrameSize.Parse(part.Trim())}")];

    /// <exception cref="FormatException">Some part is no whole number from 1.</exception>
    public static IReadOnlyList<int> Lengths(string text) => [.. text.Split(',').Select(part => Whole(part.Trim(), 1, ", such as 49,121"))];

    /// <exception cref="FormatException">It is not such as 2/4.</exception>
    public static (int Part, int Parts) Part(string text) =>
        text.Split('/') is [var part, var parts] && Whole(part, 1, " to the number of parts, such as 2/4") is var i && Whole(parts, 1, " for the number of parts") is var n && i <= n
            ? (i, n)
            : throw new FormatException("use the part and the number of parts, such as 2/4");

    /// <summary>The advice for a number with a comma; null for other faults.</summary>
    public static string? Advice(string text) => PlainNumber.Advice(text) is { Length: > 0 } advice ? advice : null;
}

/// <summary>A value of a setting that was typed; null is any, such as a seed of -1.</summary>
internal sealed record SettingValue(object? Value);
