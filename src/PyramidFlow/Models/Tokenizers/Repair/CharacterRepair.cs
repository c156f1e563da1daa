using System.Buffers;
using System.Collections.Frozen;
using System.Globalization;
using System.Text;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// Repairs single characters: C1 controls, ligatures, character widths, curly quotes, line breaks, lone surrogates, terminal escapes and
/// control characters.
/// </summary>
internal static class CharacterRepair
{
    private const char Escape = '\u001B';

    // Characters for the half and full width forms from U+FF5F; a space for unassigned ones.
    private const int WidthStart = 0xFF5F;

    private const string Widths = "⦅⦆。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン"
        + "\u3099\u309A"
        + "\u1160\u1100\u1101\u11AA\u1102\u11AC\u11AD\u1103\u1104\u1105\u11B0\u11B1\u11B2\u11B3\u11B4\u11B5\u111A"
        + "\u1106\u1107\u1108\u1121\u1109\u110A\u110B\u110C\u110D\u110E\u110F\u1110\u1111\u1112   "
        + "\u1161\u1162\u1163\u1164\u1165\u1166  \u1167\u1168\u1169\u116A\u116B\u116C  "
        + "\u116D\u116E\u116F\u1170\u1171\u1172  \u1173\u1174\u1175   ¢£¬ ¦¥₩ │←↑→↓■○";

    private static readonly FrozenDictionary<char, string> Replacements = BuildReplacements();

    /// <summary>Replaces C1 controls by the characters of Windows-1252 with the same numbers, if any.</summary>
    public static string ReplaceC1(string text) => text.AsSpan().IndexOfAnyInRange('\u0080', '\u009F') < 0
        ? text
        : string.Create(text.Length, text, (output, source) =>
        {
            for (var i = 0; i < output.Length; i++)
                output[i] = Windows1252(source[i]);
        });

    /// <summary>Repairs a text; the result is valid UTF-16.</summary>
    public static string Repair(string text)
    {
        var output = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (c == '\r')
            {
                if (i + 1 == text.Length || text[i + 1] != '\n')
                    output.Append('\n');
            }
            else if (char.IsSurrogate(c))
            {
                var paired = char.IsSurrogatePair(text, i);
                output.Append(paired ? text.AsSpan(i, 2) : "\uFFFD");
                i += paired ? 1 : 0;
            }
            else if (c >= '\u0080' && Replacements.TryGetValue(c, out var replacement))
            {
                output.Append(replacement);
            }
            else
            {
                output.Append(c);
            }
        }

        return RemoveControls(RemoveTerminalEscapes(output.ToString()));
    }

    private static string RemoveTerminalEscapes(string text)
    {
        if (!text.Contains(Escape, StringComparison.Ordinal))
            return text;
        var output = new StringBuilder(text.Length);
        for (var at = 0; at < text.Length;)
        {
            var length = EscapeLength(text.AsSpan(at));
            if (length == 0)
                output.Append(text[at++]);
            at += length;
        }

        return output.ToString();
    }

    // Terminal escapes such as colours: ESC, [, digits and semicolons, letter.
    private static int EscapeLength(ReadOnlySpan<char> text)
    {
        if (text is not [Escape, '[', ..])
            return 0;
        var length = 2;
        while (Rune.DecodeFromUtf16(text[length..], out var rune, out var width) == System.Buffers.OperationStatus.Done)
        {
            length += width;
            if (rune.IsAscii && Rune.IsLetter(rune))
                return length;
            if (rune.Value != ';' && Rune.GetUnicodeCategory(rune) != UnicodeCategory.DecimalDigitNumber)
                return 0;
        }

        return 0;
    }

    private static string RemoveControls(string text)
    {
        var output = new StringBuilder(text.Length);
        foreach (var c in text)
        {
            if (!IsControl(c))
                output.Append(c);
        }

        return output.Length == text.Length ? text : output.ToString();
    }

    private static bool IsControl(char c) => c is <= '\u0008' or '\u000B' or (>= '\u000E' and <= '\u001F') or '\u007F'
        or (>= '\u206A' and <= '\u206F') or '\uFEFF' or (>= '\uFFF9' and <= '\uFFFC');

    private static char Windows1252(char c) =>
        c is >= '\u0080' and <= '\u009F' ? SingleByteEncoding.Windows1252.UpperHalf[c - 0x80] : c;

    private static FrozenDictionary<char, string> BuildReplacements()
    {
        var map = new Dictionary<char, string>
        {
            ['Ĳ'] = "IJ",
            ['ĳ'] = "ij",
            ['ŉ'] = "'n",
            ['Ǳ'] = "DZ",
            ['ǲ'] = "Dz",
            ['ǳ'] = "dz",
            ['Ǆ'] = "DŽ",
            ['ǅ'] = "Dž",
            ['ǆ'] = "dž",
            ['Ǉ'] = "LJ",
            ['ǈ'] = "Lj",
            ['ǉ'] = "lj",
            ['Ǌ'] = "NJ",
            ['ǋ'] = "Nj",
            ['ǌ'] = "nj",
            ['ﬀ'] = "ff",
            ['ﬁ'] = "fi",
            ['ﬂ'] = "fl",
            ['ﬃ'] = "ffi",
            ['ﬄ'] = "ffl",
            ['ﬅ'] = "ſt",
            ['ﬆ'] = "st",
            ['\u2028'] = "\n",
            ['\u2029'] = "\n",
            ['\u3000'] = " ",
            ['\uFFE3'] = " \u0304",
        };
        foreach (var quote in "ʼ‘’‚‛")
            map[quote] = "'";
        foreach (var quote in "“”„‟")
            map[quote] = "\"";
        for (var c = '！'; c <= '～'; c++)
            map[c] = ((char)(c - 0xFEE0)).ToString();
        for (var i = 0; i < Widths.Length; i++)
        {
            if (Widths[i] != ' ')
                map[(char)(WidthStart + i)] = Widths[i].ToString();
        }

        for (var c = '\u0080'; c <= '\u009F'; c++)
        {
            var meant = Windows1252(c);
            if (meant != c)
                map[c] = map.GetValueOrDefault(meant, meant.ToString());
        }

        return map.ToFrozenDictionary();
    }
}

/// <summary>
/// Decodes HTML character references that end in a semicolon: names of the standard (<c>HtmlEntities.txt</c>), unambiguous names in
/// capitals (<c>&amp;EACUTE;</c>), and numbers.
/// </summary>
internal static class HtmlEntities
{
    private const int LongestName = 24;

    // Names in capitals that the standard allows without a semicolon: "&COPYSR;" is a copyright sign and "SR;".
    private static readonly string[] OpenCapitals = ["AMP", "COPY", "ETH", "GT", "LT", "QUOT", "REG", "THORN"];

    private static readonly SearchValues<char> NameCharacters =
        SearchValues.Create("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

    private static readonly Lazy<FrozenDictionary<string, string>> Named = new(ReadNames);

    /// <summary>Replaces references by their characters.</summary>
    public static string Unescape(string text)
    {
        var next = text.IndexOf('&', StringComparison.Ordinal);
        if (next < 0)
            return text;
        var output = new StringBuilder(text.Length);
        var at = 0;
        while (next >= 0)
        {
            output.Append(text, at, next - at);
            var length = ReferenceLength(text, next);
            if (length > 0 && Value(text.AsSpan(next + 1, length - 2)) is { } value)
                output.Append(value);
            else
                output.Append(text, next, length = Math.Max(length, 1));
            at = next + length;
            next = text.IndexOf('&', at);
        }

        return output.Append(text, at, text.Length - at).ToString();
    }

    private static int ReferenceLength(string text, int start)
    {
        var name = start + 1;
        if (name < text.Length && text[name] == '#')
            name++;
        var rest = text.AsSpan(name);
        rest = rest[..Math.Min(rest.Length, LongestName + 1)];
        var length = rest.IndexOfAnyExcept(NameCharacters);
        return length > 0 && rest[length] == ';' ? name - start + length + 1 : 0;
    }

    private static string? Value(ReadOnlySpan<char> name)
    {
        if (name[0] != '#')
            return Named.Value.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(name, out var value) ? value : null;
        var hex = name[1] is 'x' or 'X';
        var digits = name[(hex ? 2 : 1)..];
        if (digits.IsEmpty || digits.ContainsAnyExcept(hex ? "0123456789ABCDEFabcdef" : "0123456789"))
            return null;
        digits = digits.TrimStart('0');
        var point = digits.IsEmpty ? 0 : digits.Length > 7 ? int.MaxValue
            : int.Parse(digits, hex ? NumberStyles.HexNumber : NumberStyles.None, CultureInfo.InvariantCulture);
        // References to a semicolon stay, because the text may be the rest of a decoded reference.
        return point == ';' ? null : Character(point);
    }

    private static string Character(int point) => point switch
    {
        '\r' => "\r",
        >= 0x80 and <= 0x9F => SingleByteEncoding.Windows1252.UpperHalf[point - 0x80].ToString(),
        0 => "\uFFFD",
        _ when !Rune.IsValid(point) => "\uFFFD",
        (>= 1 and <= 8) or 0x0B or (>= 0x0E and <= 0x1F) or 0x7F or (>= 0xFDD0 and <= 0xFDEF) => "",
        _ when (point & 0xFFFE) == 0xFFFE => "",
        _ => char.ConvertFromUtf32(point),
    };

    private static FrozenDictionary<string, string> ReadNames()
    {
        var names = new Dictionary<string, string>(StringComparer.Ordinal);
        using var stream = typeof(HtmlEntities).Assembly.GetManifestResourceStream("HtmlEntities.txt")!;
        using var lines = new StreamReader(stream);
        while (lines.ReadLine() is { } line)
        {
            if (line[0] == '#')
                continue;
            var parts = line.Split(' ');
            names[parts[0]] = string.Concat(parts.Skip(1).Select(hex =>
                char.ConvertFromUtf32(int.Parse(hex, NumberStyles.HexNumber, CultureInfo.InvariantCulture))));
        }

        foreach (var (name, value) in names.ToArray())
        {
            var capitals = name.ToUpperInvariant();
            if (name == name.ToLowerInvariant() && !OpenCapitals.Any(open => capitals.StartsWith(open, StringComparison.Ordinal)))
                names.TryAdd(capitals, Capitals(value));
        }

        return names.ToFrozenDictionary(StringComparer.Ordinal);
    }

    private static string Capitals(string value) => value switch
    {
        "ß" => "SS",
        "ŉ" => "ʼN",
        "ﬀ" => "FF",
        "ﬁ" => "FI",
        "ﬂ" => "FL",
        "ﬃ" => "FFI",
        "ﬄ" => "FFL",
        "ı" => "I",
        _ => value.ToUpperInvariant(),
    };
}
