using System.Globalization;
using System.Text;
using PyramidFlow.Models.Tokenizers.Repair;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// CLIP's text clean-up and word pattern, as the released system's tokenizer does them: text is mended, white space
/// collapsed, lower case.
/// </summary>
internal static class ClipText
{
    // Neither a letter nor anything else to a pattern that ignores case: it parts words and gives no id.
    private const char IotaBelow = '\u0345';

    private static readonly string[] Suffixes = ["s", "t", "re", "ve", "m", "ll", "d"];

    /// <summary>Cleans a text.</summary>
    /// <returns>Lower-case words with one space between them; valid UTF-16.</returns>
    public static string Clean(string text)
    {
        var words = TextRepair.Repair(text)
            .Split(default(char[]), StringSplitOptions.RemoveEmptyEntries)
            .Select(UnicodeCase.ToLower);
        return string.Join(' ', words);
    }

    /// <summary>
    /// Cuts cleaned text by CLIP's pattern: a special token, an English suffix ('s 't 're 've 'm 'll 'd), a run of
    /// letters, one digit, or a run of anything else but white space.
    /// </summary>
    public static IEnumerable<string> Words(string text, string[] specials)
    {
        for (var at = 0; at < text.Length;)
        {
            if (text[at] is ' ' or IotaBelow)
            {
                at++;
                continue;
            }

            var length = Prefix(text, at, specials) is var special and > 0 ? special
                : text[at] == '\'' && Prefix(text, at + 1, Suffixes) is var suffix and > 0 ? suffix + 1
                : RunLength(text, at);
            yield return text.Substring(at, length);
            at += length;
        }
    }

    private static int Prefix(string text, int at, string[] candidates)
    {
        foreach (var candidate in candidates)
        {
            if (StartsWith(text.AsSpan(at), candidate))
                return candidate.Length;
        }

        return 0;
    }

    // The pattern ignores case, and a long s is an s then.
    private static bool StartsWith(ReadOnlySpan<char> text, string candidate)
    {
        for (var i = 0; i < candidate.Length; i++)
        {
            if (i == text.Length || (text[i] == 'ſ' ? 's' : text[i]) != candidate[i])
                return false;
        }

        return true;
    }

    private static int RunLength(string text, int start)
    {
        var kind = KindAt(text, start, out var at);
        if (kind == Kind.Digit)
            return at;
        at += start;
        while (at < text.Length && KindAt(text, at, out var width) == kind)
            at += width;
        return at - start;
    }

    private static Kind KindAt(string text, int at, out int width)
    {
        var rune = Rune.GetRuneAt(text, at);
        width = rune.Utf16SequenceLength;
        if (rune.Value is ' ' or IotaBelow)
            return Kind.Space;
        return Rune.GetUnicodeCategory(rune) switch
        {
            UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter
                or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter => Kind.Letter,
            UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber
                or UnicodeCategory.OtherNumber => Kind.Digit,
            _ => Kind.Other,
        };
    }

    private enum Kind
    {
        Space,
        Letter,
        Digit,
        Other,
    }
}
