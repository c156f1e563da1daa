using System.CommandLine;
using System.CommandLine.Parsing;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Generation;

namespace PyramidFlow.Cli.Parsing;

/// <summary>Options whose faults name the option, the value and what would be right.</summary>
internal static class CliOptions
{
    /// <summary>The option of every command that shows the whole of an error.</summary>
    public const string Verbose = "--verbose";

    public static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    public static Option<string?> Text(string name, string valueName, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, HelpName = valueName };

    public static Option<string?> Choice(string name, string description, params string[] choices) =>
        Parsed<string?>(name, string.Join('|', choices), description, text => Values.Choice(text, choices));

    public static Option<int?> Whole(string name, string valueName, string description, int least, int most = int.MaxValue) =>
        Parsed<int?>(name, valueName, description, text => Values.Whole(text, least) is var value && value <= most
            ? value
            : throw new FormatException($"use a whole number from {least} to {most}"));

    public static Option<double?> Number(string name, string valueName, string description, bool zero) =>
        Parsed<double?>(name, valueName, description, text => Values.Number(text, zero));

    public static Option<long?> Memory(string name, string description) => Parsed<long?>(name, "8GB", description, text => Values.Bytes(text));

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
