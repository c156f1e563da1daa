using System.Buffers;
using System.Text;
using System.Text.Unicode;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// Repairs text like <c>fix_text</c> of the package ftfy 6.3.1 with its defaults: HTML entities, UTF-8 decoded in another encoding, C1
/// controls, ligatures, character widths, curly quotes, line breaks, lone surrogates, terminal escapes, control characters, and
/// normalisation form C. Lines are repaired one by one.
/// </summary>
internal static class TextRepair
{
    private const int LongestSegment = 1_000_000;

    // Text of only these characters needs no repair.
    private static readonly SearchValues<char> Sound = SearchValues.Create(
        string.Concat(Enumerable.Range(' ', 0x7F - ' ').Select(c => (char)c).Where(c => c != '&')) + "\t\n\f");

    /// <summary>Repairs a text.</summary>
    /// <returns>Valid UTF-16 in form C; the same text if nothing is wrong.</returns>
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
            // A < suggests real HTML, whose entities are intended: from this line on they stay.
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
/// Limits the work on one line. Malicious text can need a round of repair for every few characters; with this limit the work stays
/// proportional to the length of the line.
/// </summary>
internal sealed class RepairBudget(int length)
{
    private const int RoundsPerCharacter = 32;
    private const int Free = 1 << 16;

    private long left = Free + ((long)RoundsPerCharacter * length);

    /// <summary>Takes one round over a text from the budget; false if the budget is exhausted.</summary>
    public bool TakeRound(string text)
    {
        left -= text.Length;
        return left >= 0;
    }
}

/// <summary>Repairs UTF-8 text that was decoded in a single-byte encoding, possibly several times.</summary>
internal static class Mojibake
{
    // Lead bytes of two, three and four byte sequences, and continuation bytes, in all encodings like Latin-1.
    private static readonly SearchValues<char> LeadsOfTwo = Characters(0xC2, 0xDF);
    private static readonly SearchValues<char> LeadsOfThree = Characters(0xE0, 0xEF);
    private static readonly SearchValues<char> LeadsOfFour = Characters([0xF0, 0xF3]);
    private static readonly SearchValues<char> Continuations = Characters(0x80, 0xBF, and: " ");

    // Continuation characters that are rarely real beside mojibake.
    private static readonly SearchValues<char> SureContinuations = Characters(0x80, 0xBF, without: "–—―‘’‚“”„•…");

    /// <summary>Decodes a line again until nothing in it looks like mojibake.</summary>
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

    // Repairs runs inside other text that look like UTF-8. A run is shorter than the text around it and shrinks with each
    // decoding, which bounds the depth.
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
/// Decodes damaged UTF-8: no-break spaces that became spaces, lost bytes, characters above U+FFFF encoded as two surrogates, and NUL
/// encoded in two bytes.
/// </summary>
internal static class Utf8Repair
{
    private const byte Space = 0x20;
    private const byte NoBreakSpace = 0xA0;
    private const byte Lost = 0x1A;

    private static readonly SearchValues<byte> LossyContinuation =
        SearchValues.Create([Lost, (byte)'?', .. Enumerable.Range(0x80, 0x40).Select(b => (byte)b)]);

    /// <summary>Decodes bytes of a text in an encoding; null if they are not UTF-8.</summary>
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
            // "Ã la" was "à la": a separate word, whose no-break space and space were merged.
            if (rest[0] == 0xC3 && !GoesOnAfterA(rest[length..]))
                output.Add(Space);
            at += length;
        }

        return [.. output];
    }

    // Lengths of sequences in which the character with A0 is likely.
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
