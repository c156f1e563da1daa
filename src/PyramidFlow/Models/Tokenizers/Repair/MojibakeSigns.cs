using System.Buffers;
using System.Globalization;
using System.Text;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// Sequences of characters that rarely occur except in mojibake, such as a lower-case accented letter before a currency sign. Categories
/// and sequences are those of ftfy 6.3.
/// </summary>
internal static class MojibakeSigns
{
    // "a-z" is a range.
    private const string C1 = "\u0080-\u009F";
    private const string Common = "\u00A0\u00AD´·–—―’…";
    private const string Odd = "¤¦¨ª¬¯¸ºƒˆˇ˘˛˜†‡‰⌐◊\uFFFD";
    private const string Law = "§¶";
    private const string Currency = "¢£¥₧€";
    private const string Opening = "¡©«¿΄΅‘‚“„•‹\uF8FF";
    private const string Closing = "®»˝”›™";
    private const string Numeric = "±²³µ¹¼½¾×÷⁄№∂∆∏∑√∞∩∫≈≠≡≤≥";
    private const string FaceLetters = "°Ò-ÖÙ-Üò-öø-üŌŐŪŲ";
    private const string Upper = "À-ÑØÜÝĀĂĄĆČĎĐĒĖĘĚĞĢĪİĶĹĻĽŁŃŅŇŒŘŚŞŠŢŤŮŰŸŹŻŽҐ";
    private const string Lower = "ß-ñüāăąćčďđēėęěğģīįķĺļľłœŕśşšťźżžґﬁﬂ";
    private const string OtherUpper = "ÞΆΈΉΊΌΎΏΑ-ΫЁ-Я";
    private const string OtherLower = "ά-ωа-џ";
    private const string Box = "│┌┐┘├┤┬┼═-╬▀▄█▌▐-▓";
    private const string Space = "\t-\r\u001C- \u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000";

    private const string OddNeighbours = Lower + Upper + Box + Opening + Closing + Currency + Numeric + Law;
    private const string ArabicSecond = Common + Currency + Odd + Numeric + Opening + "ŸŠ®°µ»";

    private static readonly Place[][] Signs =
    [
        [C1],
        [Odd + OddNeighbours, Odd],
        ["a-zA-Z", OtherLower + OtherUpper, Odd],
        [Odd, OddNeighbours],
        [Lower + OtherLower + Box + Closing + Currency + Numeric, Upper],
        [Box + Closing + Currency + Numeric, Lower],
        [Lower + Box + Closing, Currency],
        [Space, Upper, Currency],
        [Upper + Box, Numeric + Law],
        [Lower + Upper + Box + Currency + Closing, Opening, Numeric],
        [Lower + Upper + Currency + Numeric + Box + Law, Closing, Opening],
        [Currency + Numeric + Box, Opening],
        ["a-z", Upper, Opening + Currency],
        [Box, FaceLetters],
        [Lower + Upper + Currency + Numeric + Opening + Closing + Law, Box],
        [Box, Closing],
        [Lower + Upper, Opening + Closing, Place.WordCharacter],
        ["Œœ", Place.Not("a-zA-Z")],
        [Upper, "°"],

        // Windows-1252: two-byte sequences, Arabic, lead bytes of Indic scripts.
        ["ÂÃÎÐ", "€œŠš¢£Ÿž\u00A0\u00AD®©°·»–—´" + Opening + Closing],
        ["×", "²³"],
        ["ØÙ", ArabicSecond, "ØÙ", ArabicSecond],
        ["à", "²µ¹¼½¾"],

        // MacRoman.
        ["√", "±∂†≠®™´≤≥¥µø"],
        ["≈", "°¢"],
        ["‚", "Ä", "ìîïòôúùû†°¢π"],
        ["‚", "âó", "àä°ê"],

        // Windows-1251: characters from U+2000, Cyrillic, and Cyrillic via Latin-1 beside a Latin letter.
        ["в", "Ђ"],
        ["ВГРС", C1 + Odd + Opening + Closing + Currency + "°µ", "ВГРС"],
        ["Г", "ў", "В", "Ђ", "В", Place.Not("\n"), "A-Za-z "],

        // "à", "á" and the no-break space after it became a space; "Â" before unlikely characters.
        ["Ã", "\u00A0¡"],
        ["a-z", "ÃÂ", " "],
        ["a-z", Space, "ÃÂ", " "],
        [Place.Start, "ÃÂ", " "],
        ["a-z.,?!" + Closing, "Â", " " + Opening + Closing],

        // Windows-1253: characters from U+2000, Greek. Windows-1257: characters from U+2000.
        ["β", "€", "™\u00A0Ά\u00AD®°"],
        ["ΒΓΞΟ", C1 + Odd + Opening + Closing + Currency + "°", "ΒΓΞΟ"],
        ["ā", "€"],
    ];

    /// <summary>Whether a text contains one of the sequences.</summary>
    public static bool In(string text)
    {
        for (var at = 0; at < text.Length; at++)
        {
            // Every sequence has a non-ASCII character among its first three.
            if (Ascii.IsValid(text.AsSpan(at, Math.Min(3, text.Length - at))))
                continue;
            foreach (var sign in Signs)
            {
                if (Matches(sign, text, at))
                    return true;
            }
        }

        return false;
    }

    private static bool Matches(Place[] sign, string text, int at)
    {
        foreach (var place in sign)
        {
            var width = place.Width(text, at);
            if (width < 0)
                return false;
            at += width;
        }

        return true;
    }

    /// <summary>Element of a sequence: a set of characters or a position.</summary>
    private sealed class Place
    {
        private readonly Func<string, int, int> width;

        private Place(Func<string, int, int> width) => this.width = width;

        /// <summary>The beginning of the text; matches no character.</summary>
        public static Place Start { get; } = new((_, at) => at == 0 ? 0 : -1);

        /// <summary>A letter, number or underscore.</summary>
        public static Place WordCharacter { get; } = new((text, at) =>
            Rune.TryGetRuneAt(text, at, out var rune) && (rune.Value == '_' || IsLetterOrNumber(rune))
                ? rune.Utf16SequenceLength
                : -1);

        public static implicit operator Place(string characters)
        {
            var set = Set(characters);
            return new Place((text, at) => set.Contains(text[at]) ? 1 : -1);
        }

        /// <summary>Any character except these.</summary>
        public static Place Not(string characters)
        {
            var set = Set(characters);
            return new Place((text, at) => set.Contains(text[at]) ? -1 : char.IsSurrogatePair(text, at) ? 2 : 1);
        }

        /// <summary>Number of characters matched at a position of a text; negative if the element does not match.</summary>
        public int Width(string text, int at) => at < text.Length ? width(text, at) : -1;

        private static bool IsLetterOrNumber(Rune rune) => Rune.IsLetter(rune)
            || Rune.GetUnicodeCategory(rune) is UnicodeCategory.DecimalDigitNumber or UnicodeCategory.LetterNumber
                or UnicodeCategory.OtherNumber;

        private static SearchValues<char> Set(string characters)
        {
            var set = new List<char>();
            for (var i = 0; i < characters.Length; i++)
            {
                if (characters[i] != '-' || i == 0 || i + 1 == characters.Length)
                {
                    set.Add(characters[i]);
                    continue;
                }

                for (var c = characters[i - 1]; c < characters[i + 1]; c++)
                    set.Add(c);
            }

            return SearchValues.Create([.. set]);
        }
    }
}
