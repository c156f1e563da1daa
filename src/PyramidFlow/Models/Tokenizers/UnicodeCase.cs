using System.Globalization;
using System.Text;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>Full lower-casing of the Unicode standard (SpecialCasing included), without a culture.</summary>
internal static class UnicodeCase
{
    private const int CapitalSigma = 0x03A3;
    private const int CapitalDottedI = 0x0130;

    /// <summary>Lower case of a text; lone surrogates become U+FFFD.</summary>
    public static string ToLower(string text)
    {
        if (Ascii.IsValid(text))
            return text.ToLowerInvariant();
        Rune[] runes = [.. text.EnumerateRunes()];
        var output = new StringBuilder(text.Length);
        for (var i = 0; i < runes.Length; i++)
        {
            if (runes[i].Value == CapitalDottedI)
                output.Append("i\u0307");
            else if (runes[i].Value == CapitalSigma)
                output.Append(EndsWord(runes, i) ? 'ς' : 'σ');
            else
                output.Append(Rune.ToLowerInvariant(runes[i]));
        }

        return output.ToString();
    }

    // Final_Sigma: a cased letter before, none after; marks and the like in between do not count.
    private static bool EndsWord(Rune[] text, int sigma)
    {
        var before = sigma - 1;
        while (before >= 0 && IsCaseIgnorable(text[before]))
            before--;
        var after = sigma + 1;
        while (after < text.Length && IsCaseIgnorable(text[after]))
            after++;
        return before >= 0 && IsCased(text[before]) && (after == text.Length || !IsCased(text[after]));
    }

    // Letters with case, and the Other_Lowercase and Other_Uppercase ones that are not modifiers.
    private static bool IsCased(Rune c) => Rune.GetUnicodeCategory(c) is UnicodeCategory.UppercaseLetter
            or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
        || c.Value is 0xAA or 0xBA or (>= 0x2160 and <= 0x217F) or (>= 0x24B6 and <= 0x24E9)
            or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189);

    private static bool IsCaseIgnorable(Rune c) =>
        c.Value is '\'' or '.' or ':' or '·' or '\u055F' or '\u05F4' or '‘' or '’' or '․' or '‧'
            or '\uFE13' or '\uFE52' or '\uFE55' or '\uFF07' or '\uFF0E' or '\uFF1A' or '\u0387'
        || Rune.GetUnicodeCategory(c) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark
            or UnicodeCategory.Format or UnicodeCategory.ModifierLetter or UnicodeCategory.ModifierSymbol;
}
