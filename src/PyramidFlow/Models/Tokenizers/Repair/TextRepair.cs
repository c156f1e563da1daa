using System.Buffers;
using System.Text;
using System.Text.Unicode;

namespace PyramidFlow.Models.Tokenizers.Repair;

/// <summary>
/// Mends text as version 6.3.1 of the repair package ftfy does with its defaults (<c>fix_text</c>): HTML entities, UTF-8
/// read in another encoding, C1 controls, ligatures, widths, curly quotes, line breaks, half surrogates, terminal escapes,
/// control characters, form C. Lines are mended one by one.
/// </summary>
internal static class TextRepair
{
    private const int LongestSegment = 1_000_000;

    // Text of these alone is left as it is.
    private static readonly SearchValues<char> Sound = SearchValues.Create(
        string.Concat(Enumerable.Range(' ', 0x7F - ' ').Select(c => (char)c).Where(c => c != '&')) + "\t\n\f");

    /// <summary>Mends a text.</summary>
    /// <returns>Valid UTF-16 in form C; the same text where nothing is wrong.</returns>
    public static string Repair(string text)
    {
        if (!text.AsSpan().ContainsAnyExcept(Sound))
            return text;
        var output = new StringBuilder(text.Length);
        var entities = true;
        for (var start = 0; start < text.Length;)
        {
            var end = SegmentEnd(text, start);
            var segment = text[start..end];
            // A < tells of real HTML, whose entities are meant: from that line on.
            entities = entities && !segment.Contains('<', StringComparison.Ordinal);
            output.Append(RepairSegment(segment, entities));
            start = end;
        }

        return output.ToString();
    }

    private static int SegmentEnd(string text, int start)
    {
        var end = start;
        for (var points = 0; end < text.Length && points < LongestSegment; points++)
        {
            if (text[end] == '\n')
                return end + 1;
            end += char.IsSurrogatePair(text, end) ? 2 : 1;
        }

        return end;
    }

    private static string RepairSegment(string text, bool entities)
    {
        var budget = new RepairBudget(text.Length);
        while (budget.TakeRound(text))
        {
            var before = text;
            if (entities)
                text = HtmlEntities.Unescape(text);
            text = Mojibake.Repair(text, budget);
            text = CharacterRepair.Repair(text);
            text = UnicodeComposer.Compose(text);
            if (text == before)
                break;
        }

        return text;
    }
}

/// <summary>
/// A limit on the characters looked at for one line. Text can be made to need a round of repair for every few
/// characters; the work grows with the line's length all the same.
/// </summary>
internal sealed class RepairBudget(int length)
{
    private const int RoundsPerCharacter = 32;
    private const int Free = 1 << 16;

    private long left = Free + ((long)RoundsPerCharacter * length);

    /// <summary>Takes a round over a text; false where nothing is left.</summary>
    public bool TakeRound(string text)
    {
        left -= text.Length;
        return left >= 0;
    }
}

/// <summary>UTF-8 that was read in an encoding of one byte a character, perhaps several times over, is read again.</summary>
internal static class Mojibake
{
    // Leads of two, three and four bytes, and what follows them, in all encodings like Latin-1.
    private static readonly SearchValues<char> LeadsOfTwo = Characters(0xC2, 0xDF);
    private static readonly SearchValues<char> LeadsOfThree = Characters(0xE0, 0xEF);
    private static readonly SearchValues<char> LeadsOfFour = Characters([0xF0, 0xF3]);
    private static readonly SearchValues<char> Continuations = Characters(0x80, 0xBF, and: " ");

    // Those that seldom stand for themselves beside mojibake.
    private static readonly SearchValues<char> SureContinuations = Characters(0x80, 0xBF, without: "–—―‘’‚“”„•…");

    /// <summary>Reads a line again until nothing in it looks misread.</summary>
    public static string Repair(string text, RepairBudget budget)
    {
        while (true)
        {
            var next = ReadOnceMore(text, budget);
            if (next == text)
                return text;
            text = next;
        }
    }

    private static string ReadOnceMore(string text, RepairBudget budget)
    {
        if (!budget.TakeRound(text) || Ascii.IsValid(text) || !MojibakeSigns.In(text))
            return text;
        foreach (var encoding in SingleByteEncoding.InOrderOfTrial)
        {
            if (encoding.TryEncode(text) is { } bytes && Utf8Repair.TryDecode(bytes, encoding) is { } read)
                return read;
        }

        var repaired = RepairRuns(text, budget);
        return repaired == text ? CharacterRepair.ReplaceC1(text) : repaired;
    }

    // Runs that look like UTF-8 in the midst of other text. A run is shorter than the text it stands in and shrinks at
    // each reading, which bounds the depth.
    private static string RepairRuns(string text, RepairBudget budget)
    {
        var output = new StringBuilder(text.Length);
        for (var at = 0; at < text.Length;)
        {
            var length = at > 0 && SureContinuations.Contains(text[at - 1]) ? 0 : RunLength(text.AsSpan(at));
            if (length == 0)
            {
                output.Append(text[at++]);
                continue;
            }

            var run = text.Substring(at, length);
            output.Append(length < text.Length && MojibakeSigns.In(run) ? Repair(run, budget) : run);
            at += length;
        }

        return output.ToString();
    }

    private static int RunLength(ReadOnlySpan<char> text)
    {
        var length = 0;
        while (length < text.Length)
        {
            var lead = text[length];
            var following = LeadsOfTwo.Contains(lead) ? 1 : LeadsOfThree.Contains(lead) ? 2 : LeadsOfFour.Contains(lead) ? 3 : 0;
            var rest = text[(length + 1)..];
            if (following == 0 || rest.Length < following || rest[..following].ContainsAnyExcept(Continuations))
                break;
            length += 1 + following;
        }

        return length;
    }

    private static SearchValues<char> Characters(int first, int last, string and = "", string without = "") =>
        SearchValues.Create([.. Characters(Enumerable.Range(first, last - first + 1)).Except(without), .. and]);

    private static SearchValues<char> Characters(int[] bytes) => SearchValues.Create([.. Characters(bytes.AsEnumerable())]);

    private static IEnumerable<char> Characters(IEnumerable<int> bytes) =>
        from b in bytes from encoding in SingleByteEncoding.LikeLatin1 select encoding.UpperHalf[b - 0x80];
}

/// <summary>
/// Reads bytes as UTF-8 that may have suffered on its way: no-break spaces made plain ones, bytes lost, characters above
/// U+FFFF written as two surrogates, NUL written in two bytes.
/// </summary>
internal static class Utf8Repair
{
    private const byte Space = 0x20;
    private const byte NoBreakSpace = 0xA0;
    private const byte Lost = 0x1A;

    private static readonly SearchValues<byte> LossyContinuation =
        SearchValues.Create([Lost, (byte)'?', .. Enumerable.Range(0x80, 0x40).Select(b => (byte)b)]);

    /// <summary>The text of bytes in an encoding; null where they are no UTF-8.</summary>
    public static string? TryDecode(byte[] bytes, SingleByteEncoding encoding)
    {
        if (encoding.RestoresSpaces)
            bytes = RestoreNoBreakSpaces(bytes);
        if (encoding.MarksLosses)
            bytes = ReplaceLosses(bytes);
        if (bytes.AsSpan().ContainsAny<byte>(0xED, 0xC0))
            bytes = ReadVariants(bytes);
        return Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : null;
    }

    private static byte[] RestoreNoBreakSpaces(byte[] bytes)
    {
        if (!bytes.AsSpan().Contains(Space))
            return bytes;
        var output = new List<byte>(bytes.Length + 16);
        for (var at = 0; at < bytes.Length;)
        {
            var rest = bytes.AsSpan(at);
            var length = LengthWithSpace(rest);
            if (length == 0)
            {
                output.Add(bytes[at++]);
                continue;
            }

            foreach (var b in rest[..length])
                output.Add(b == Space ? NoBreakSpace : b);
            // "Ã la" was "à la": a word of its own, whose no-break space and space became one.
            if (rest[0] == 0xC3 && !GoesOnAfterA(rest[length..]))
                output.Add(Space);
            at += length;
        }

        return [.. output];
    }

    // Lead bytes for which the character with A0 in it is a likely one.
    private static int LengthWithSpace(ReadOnlySpan<byte> b) => b switch
    {
        [0xC2 or 0xC3 or 0xC5 or 0xCE or 0xD0 or 0xD9, Space, ..] => 2,
        [0xE2 or 0xE3, Space, var last, ..] when IsLikelyContinuation(last) => 3,
        [>= 0xE0 and <= 0xE3, var middle, Space, ..] when IsLikelyContinuation(middle) => 3,
        [0xF0, Space, >= 0x80 and <= 0xBF, >= 0x80 and <= 0xBF, ..] => 4,
        [0xF0, >= 0x80 and <= 0xBF, Space, >= 0x80 and <= 0xBF, ..] => 4,
        [0xF0, >= 0x80 and <= 0xBF, >= 0x80 and <= 0xBF, Space, ..] => 4,
        _ => 0,
    };

    private static bool IsLikelyContinuation(byte b) => b is >= 0x80 and <= 0xBF and not 0x85 and not NoBreakSpace;

    // Portuguese: às, àquele, àquela, àquilo.
    private static bool GoesOnAfterA(ReadOnlySpan<byte> rest) => rest.StartsWith(" "u8) || rest.StartsWith("quele"u8)
        || rest.StartsWith("quela"u8) || rest.StartsWith("quilo"u8) || rest.StartsWith("s "u8);

    private static byte[] ReplaceLosses(byte[] bytes)
    {
        if (!bytes.AsSpan().ContainsAny(Lost, (byte)'?'))
            return bytes;
        var output = new List<byte>(bytes.Length * 2);
        for (var at = 0; at < bytes.Length;)
        {
            var length = LossyLength(bytes.AsSpan(at));
            if (length == 0)
            {
                output.Add(bytes[at++]);
                continue;
            }

            output.AddRange("\uFFFD"u8);
            at += length;
        }

        return [.. output];
    }

    private static int LossyLength(ReadOnlySpan<byte> b)
    {
        if (b is [0xED, >= 0xA0 and <= 0xAF, var first, 0xED, >= 0xB0 and <= 0xBF, var second, ..]
            && IsLossy([first, second], mostQuestionMarks: 2))
        {
            return 6;
        }

        return b switch
        {
            [Lost, ..] => 1,
            [>= 0xC2 and <= 0xDF, Lost, ..] or [0xC2 or 0xC3, (byte)'?', ..] => 2,
            [>= 0xE0 and <= 0xEF, _, _, ..] when IsLossy(b[1..3], mostQuestionMarks: 1) => 3,
            [>= 0xF0 and <= 0xF4, _, _, _, ..] when IsLossy(b[1..4], mostQuestionMarks: 1) => 4,
            _ => 0,
        };
    }

    private static bool IsLossy(ReadOnlySpan<byte> continuation, int mostQuestionMarks)
    {
        var marks = continuation.Count((byte)'?');
        return marks <= mostQuestionMarks && marks + continuation.Count(Lost) > 0
            && !continuation.ContainsAnyExcept(LossyContinuation);
    }

    private static byte[] ReadVariants(byte[] bytes)
    {
        var output = new List<byte>(bytes.Length);
        Span<byte> encoded = stackalloc byte[4];
        for (var at = 0; at < bytes.Length;)
        {
            var rest = bytes.AsSpan(at);
            if (rest is [0xC0, 0x80, ..] or [0xC0, (byte)'\n'])
            {
                output.Add(0);
                at += 2;
            }
            else if (rest is [0xED, >= 0xA0 and <= 0xAF, >= 0x80 and <= 0xBF, 0xED, >= 0xB0 and <= 0xBF, var last, ..]
                && (last is >= 0x80 and <= 0xBF || (last == '\n' && rest.Length == 6)))
            {
                var point = 0x10000 + ((rest[1] & 0x0F) << 16) + ((rest[2] & 0x3F) << 10) + ((rest[4] & 0x0F) << 6) + (last & 0x3F);
                output.AddRange(encoded[..new Rune(point).EncodeToUtf8(encoded)]);
                at += 6;
            }
            else
            {
                output.Add(bytes[at++]);
            }
        }

        return [.. output];
    }
}
