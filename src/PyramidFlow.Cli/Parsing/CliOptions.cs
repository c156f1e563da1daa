using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace PyramidFlow.Cli.Parsing;

/// <summary>Options whose faults name the option, the value and what would be right.</summary>
internal static class CliOptions
{
    public static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    public static Option<string?> Text(string name, string valueName, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, HelpName = valueName };

    public static Option<string?> Choice(string name, string description, params string[] choices) =>
        Parsed<string?>(name, string.Join('|', choices), description, text => choices.Contains(text)
            ? text
            : throw new FormatException($"use {string.Join(", ", choices)}"));

    public static Option<int?> Whole(string name, string valueName, string description, int least) =>
        Parsed<int?>(name, valueName, description, text => WholeNumber(text, least));

    public static Option<double?> Number(string name, string valueName, string description, bool zero) =>
        Parsed<double?>(name, valueName, description, text =>
            double.TryParse(text, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value) && (zero ? value >= 0 : value > 0)
                ? value
                : throw new FormatException(zero ? "use 0 (off) or a positive number" : "use a positive number"));

    public static Option<ulong?> Seed(string name, string description) =>
        Parsed<ulong?>(name, "NUMBER", description, text =>
            ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value)
                ? value
                : throw new FormatException("use a whole number from 0"));

    public static Option<IReadOnlyList<int>?> Steps(string name, string description) =>
        Parsed<IReadOnlyList<int>?>(name, "N,N,N", description, text =>
            text.Split(',').Select(part => WholeNumber(part.Trim(), 1, ", one for each stage, such as 20,20,20")).ToArray());

    public static Option<FrameSize?> Size(string name, string description) =>
        Parsed<FrameSize?>(name, "WxH", description, text => text.ToLowerInvariant().Split('x') is [var width, var height]
            ? new FrameSize(WholeNumber(width, 1, " for the width"), WholeNumber(height, 1, " for the height"))
            : throw new FormatException("use width x height in pixels, such as 640x384"));

    private static int WholeNumber(string text, int least, string more = "") =>
        int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) && value >= least
            ? value
            : throw new FormatException($"use a whole number from {least}{more}");

    private static Option<T> Parsed<T>(string name, string valueName, string description, Func<string, T> parse)
    {
        T? Parse(ArgumentResult result)
        {
            var text = result.Tokens[0].Value;
            try
            {
                return parse(text);
            }
            catch (FormatException e)
            {
                result.AddError($"{name} {(text.Length == 0 ? "is empty" : $"cannot be {text}")}: {e.Message}");
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
}
