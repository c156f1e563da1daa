using System.Globalization;
using System.Text.RegularExpressions;

namespace PyramidFlow.Torch.Formats;

/// <summary>
/// Parses numbers that people write: digits with a decimal point, a sign and an exponent. Refuses commas, which mean a decimal
/// point to some and a thousands separator to others. Accepts integers written as 7.0.
/// </summary>
internal static partial class PlainNumber
{
    /// <summary>Parses a finite number.</summary>
    /// <param name="text">Such as <c>7.5</c>, <c>-2</c> or <c>1e-4</c>; surrounding spaces are accepted.</param>
    /// <param name="value">The number, or 0.</param>
    /// <returns>Whether the text is a finite number.</returns>
    public static bool TryReal(string? text, out double value)
    {
        value = 0;
        return text is not null && Form().IsMatch(text)
            && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value) && double.IsFinite(value);
    }

    /// <summary>Parses an integer.</summary>
    /// <param name="text">Such as <c>7</c>, <c>-1</c> or <c>7.0</c>; surrounding spaces are accepted.</param>
    /// <param name="value">The number, or 0.</param>
    /// <returns>Whether the text is an integer of 64 bits.</returns>
    public static bool TryWhole(string? text, out long value)
    {
        value = 0;
        return text is not null && Whole().Match(text) is { Success: true } match
            && long.TryParse(match.Groups["digits"].ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
    }

    /// <summary>Parses an integer from 0, such as a seed.</summary>
    /// <param name="text">Such as <c>7</c> or <c>7.0</c>; surrounding spaces are accepted.</param>
    /// <param name="value">The number, or 0.</param>
    /// <returns>Whether the text is an integer of 64 bits.</returns>
    public static bool TryUnsigned(string? text, out ulong value)
    {
        value = 0;
        return text is not null && Whole().Match(text) is { Success: true } match
            && ulong.TryParse(match.Groups["digits"].ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);
    }

    /// <summary>Advice for a number with a comma, such as <c>write 7.5 with a decimal point</c>; empty if a comma is not the fault.</summary>
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
