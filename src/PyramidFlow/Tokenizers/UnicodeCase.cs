using System.Globalization;
using System.Text;

namespace PyramidFlow.Tokenizers;

/// <summary>Full lower-casing of the Unicode standard (SpecialCasing included), without a culture.</summary>
internal static class UnicodeCase
{
    private const int CapitalSigma = 0x03A3;
    private const int CapitalDottedI = 0x0130;

    /// <summary>Lower case of a text; lone surrogates become U+FFFD.</summary>
    public static string ToLower(string text)
    {
        if (System.Text.Ascii.IsValid(text))
            return text.ToLowerInvariant();
        var output = new StringBuilder(text.Length);
        var at = 0;
        foreach (var rune in text.EnumerateRunes())
        {
            if (rune.Value == CapitalDottedI)
                output.Append("i\u0307");
            else if (rune.Value == CapitalSigma)
                output.Append(EndsWord(text, at) ? 'ς' : 'σ');
            else
                output.Append(Rune.ToLowerInvariant(rune));
            at += rune.Utf16SequenceLength;
        }

        return output.ToString();
    }

    // Final_Sigma: a cased letter before, none after; marks and the like in between do not count.
    private static bool EndsWord(string text, int sigma)
    {
        var before = sigma - 1;
        while (before >= 0 && IsCaseIgnorable(text[before]))
            before--;
        var after = sigma + 1;
        while (after < text.Length && IsCaseIgnorable(text[after]))
            after++;
        return before >= 0 && IsCased(text[before]) && (after == text.Length || !IsCased(text[after]));
    }

    private static bool IsCased(char c) => char.GetUnicodeCategory(c) is UnicodeCategory.UppercaseLetter
        or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter;

    private static bool IsCaseIgnorable(char c) => c is '\'' or '.' or ':' or '·' or '’' or '‘' or '․'
        || char.GetUnicodeCategory(c) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark
            or UnicodeCategory.Format or UnicodeCategory.ModifierLetter or UnicodeCategory.ModifierSymbol;
}
