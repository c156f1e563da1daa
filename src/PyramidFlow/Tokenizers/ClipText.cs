using System.Globalization;
using System.Text;

namespace PyramidFlow.Tokenizers;

/// <summary>
/// CLIP's text clean-up and word pattern, as the reference tokenizer does them without the optional text-repair package:
/// control characters dropped, CJK characters set apart, form C, white space collapsed, lower case.
/// </summary>
internal static class ClipText
{
    private static readonly string[] Suffixes = ["s", "t", "re", "ve", "m", "ll", "d"];

    /// <summary>Cleans a text.</summary>
    /// <returns>Lower-case words with one space between them; valid UTF-16.</returns>
    public static string Clean(string text)
    {
        var kept = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            if (rune.Value is ' ' or '\t' or '\n' or '\r' || Rune.GetUnicodeCategory(rune) == UnicodeCategory.SpaceSeparator)
                kept.Append(' ');
            else if (IsCjk(rune.Value))
                kept.Append(' ').Append(rune).Append(' ');
            else if (!IsDropped(rune))
                kept.Append(rune);
        }

        // Line and paragraph separators are still there and part words too.
        var words = UnicodeComposer.Compose(kept.ToString())
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
            if (text[at] == ' ')
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
            if (text.AsSpan(at).StartsWith(candidate, StringComparison.Ordinal))
                return candidate.Length;
        }

        return 0;
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
        if (rune.Value == ' ')
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

    private static bool IsDropped(Rune rune) => rune == Rune.ReplacementChar
        || Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format
            or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned;

    // The blocks BERT's tokenizer sets apart.
    private static bool IsCjk(int c) => c is (>= 0x4E00 and <= 0x9FFF) or (>= 0x3400 and <= 0x4DBF)
        or (>= 0x20000 and <= 0x2A6DF) or (>= 0x2A700 and <= 0x2B73F) or (>= 0x2B740 and <= 0x2B81F)
        or (>= 0x2B820 and <= 0x2CEAF) or (>= 0xF900 and <= 0xFAFF) or (>= 0x2F800 and <= 0x2FA1F);

    private enum Kind
    {
        Space,
        Letter,
        Digit,
        Other,
    }
}
