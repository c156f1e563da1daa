using System.Buffers;
using System.Text;
using System.Text.Unicode;

namespace PyramidFlow.Models.Tokenizers.Repair;

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
