using System.Globalization;
using System.Text.RegularExpressions;

namespace PyramidFlow.Torch.Formats;

/// <summary>
/// Numbers as people write them: digits with a decimal point, a sign and an exponent. A comma is refused everywhere, because some
/// write it for the decimal point and some between thousands; whole numbers may be written as 7.0.
/// </summary>
public static partial class PlainNumber
{
    /// <summary>Reads a finite number.</summary>
    /// <param name="text">Such as <c>7.5</c>, <c>-2</c> or <c>1e-4</c>; spaces around it are let pass.</param>
    /// <param name="value">The number, or 0.</param>
    /// <returns>Whether the text is one.</returns>
    public static bool TryReal(string? text, out double value)
    {
        value = 0;
        return text is not null && Form().IsMatch(text)
            && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value) && double.IsFinite(value);
    }

    /// <summary>Reads a whole number.</summary>
    /// <param name="text">Such as <c>7</c>, <c>-1</c> or <c>7.0</c>; spaces around it are let pass.</param>
    /// <param name="value">The number, or 0.</param>
    /// <returns>Whether the text is one of 64 bits.</returns>
    public static bool TryWhole(string? text, out long value)
    {
        value = 0;
        return text is not null && Whole().Match(text) is { Success: true } match
            && long.TryParse(match.Groups["digits"].ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
    }

    /// <summary>Reads a whole number from 0, such as a seed.</summary>
    /// <param name="text">Such as <c>7</c> or <c>7.0</c>; spaces around it are let pass.</param>
    /// <param name="value">The number, or 0.</param>
    /// <returns>Whether the text is one of 64 bits.</returns>
    public static bool TryUnsigned(string? text, out ulong value)
    {
        value = 0;
        return text is not null && Whole().Match(text) is { Success: true } match
            && ulong.TryParse(match.Groups["digits"].ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
    }

    /// <summary>What to write instead of a number with a comma, such as <c>write 7.5 with a point</c>; empty where no comma is the fault.</summary>
    public static string Advice(string? text) => text is not null && Comma().IsMatch(text)
        ? $"write {text.Trim().Replace(',', '.')} with a decimal point, and thousands without a separator"
        : "";

    [GeneratedRegex(@"^[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?[ \t]*\z", RegexOptions.CultureInvariant | RegexOptions.NonBacktracking)]
    private static partial Regex Form();

    [GeneratedRegex(@"^[ \t]*(?<digits>[+-]?[0-9]+)(\.0*)?[ \t]*\z", RegexOptions.CultureInvariant | RegexOptions.NonBacktracking)]
    private static partial Regex Whole();

    [GeneratedRegex(@"^[ \t]*[+-]?[0-9]+,[0-9]+[ \t]*\z", RegexOptions.CultureInvariant | RegexOptions.NonBacktracking)]
    private static partial Regex Comma();
}
