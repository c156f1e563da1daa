using System.Buffers.Binary;
using System.Text;

namespace PyramidFlow.Fuzz;

/// <summary>Changes inputs at random: bits, numbers of several widths, pieces moved, doubled or cut out, words of the format, and values of JSON.</summary>
internal sealed class Mutator(Random random)
{
    private const int MaxLength = 1 << 16;

    private static readonly long[] Numbers =
    [
        0, 1, -1, 2, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, int.MaxValue, int.MinValue, uint.MaxValue, 1L << 32, 1L << 40, long.MaxValue, long.MinValue,
    ];

    private static readonly byte[][] JsonValues = [.. new[]
    {
        "null", "true", "\"\"", "[]", "{}", "0", "-1", "1e400", "-0.0", "7.0", "NaN", "-Infinity", "2147483648", "-9223372036854775809", "18446744073709551616",
        "1e-320", "\"7,5\"", "\"\\ud83d\"", "\"\\udc00x\"", "\"\\u0000\"", "\"\\ud83d\\ude00\"", "[null]", "{\"a\":null}", "[[[[[[[[1]]]]]]]]", "\"../../x\"", "\"/etc/passwd\"", "[1,1]", "\"NaN\"", "1.5",
    }.Select(Encoding.UTF8.GetBytes)];

    /// <summary>One to four changes of an input.</summary>
    /// <param name="input">It stays as it is.</param>
    /// <param name="other">Another input, for pieces of it.</param>
    /// <param name="words">Byte strings that mean something to the reader.</param>
    public byte[] Change(byte[] input, byte[] other, byte[][] words)
    {
        var bytes = input;
        for (var left = 1 + random.Next(4); left > 0; left--)
            bytes = Once(bytes, other, words);
        return bytes.Length <= MaxLength ? bytes : bytes[..MaxLength];
    }

    private byte[] Once(byte[] bytes, byte[] other, byte[][] words)
    {
        if (bytes.Length == 0)
            return Piece(other);
        switch (random.Next(11))
        {
            case 0:
                return With(bytes, b => b[random.Next(b.Length)] ^= (byte)(1 << random.Next(8)));
            case 1:
                return With(bytes, b => b[random.Next(b.Length)] = (byte)random.Next(256));
            case 2:
                return With(bytes, Number);
            case 3:
                return Replaced(bytes, Place(bytes), []);
            case 4:
                var place = Place(bytes);
                return Replaced(bytes, (place.Start, 0), bytes[place.Start..(place.Start + place.Length)]);
            case 5:
                return Replaced(bytes, Place(bytes), Piece(other));
            case 6:
                return bytes[..random.Next(bytes.Length)];
            case 7 when words.Length > 0:
                return Replaced(bytes, (random.Next(bytes.Length + 1), 0), words[random.Next(words.Length)]);
            case 8:
                return Repeated(bytes);
            case 9:
                return Digits(bytes);
            default:
                return JsonValue(bytes) ?? Replaced(bytes, Place(bytes), words.Length > 0 ? words[random.Next(words.Length)] : Piece(other));
        }
    }

    private static byte[] With(byte[] bytes, Action<byte[]> change)
    {
        var changed = (byte[])bytes.Clone();
        change(changed);
        return changed;
    }

    private void Number(byte[] bytes)
    {
        Span<byte> number = stackalloc byte[8];
        var value = Numbers[random.Next(Numbers.Length)];
        if (random.Next(2) == 0)
            BinaryPrimitives.WriteInt64LittleEndian(number, value);
        else
            BinaryPrimitives.WriteInt64BigEndian(number, value);
        var width = 1 << random.Next(4);
        var part = BitConverter.IsLittleEndian && number[0] != 0 ? number[..width] : number[^width..];
        var at = random.Next(bytes.Length);
        part[..Math.Min(width, bytes.Length - at)].CopyTo(bytes.AsSpan(at));
    }

    // A number in digits becomes another.
    private byte[] Digits(byte[] bytes)
    {
        var start = random.Next(bytes.Length);
        while (start < bytes.Length && !char.IsAsciiDigit((char)bytes[start]))
            start++;
        var end = start;
        while (end < bytes.Length && char.IsAsciiDigit((char)bytes[end]))
            end++;
        return Replaced(bytes, (start, end - start), Encoding.ASCII.GetBytes(Numbers[random.Next(Numbers.Length)].ToString(System.Globalization.CultureInfo.InvariantCulture)));
    }

    // What stands between a colon, comma or bracket and the next becomes another value.
    private byte[]? JsonValue(byte[] bytes)
    {
        var start = random.Next(bytes.Length);
        while (start < bytes.Length && bytes[start] is not ((byte)':' or (byte)',' or (byte)'['))
            start++;
        if (start == bytes.Length)
            return null;
        var end = ++start;
        var depth = 0;
        for (; end < bytes.Length; end++)
        {
            if (bytes[end] is (byte)'[' or (byte)'{')
                depth++;
            else if (bytes[end] is (byte)']' or (byte)'}' && depth-- == 0)
                break;
            else if (bytes[end] == ',' && depth == 0)
                break;
        }

        return Replaced(bytes, (start, end - start), JsonValues[random.Next(JsonValues.Length)]);
    }

    private byte[] Repeated(byte[] bytes)
    {
        var place = Place(bytes);
        var piece = bytes[place.Start..(place.Start + place.Length)];
        var times = Math.Min(1 << random.Next(10), MaxLength / Math.Max(1, piece.Length));
        return Replaced(bytes, (place.Start, 0), [.. Enumerable.Repeat(piece, times).SelectMany(p => p)]);
    }

    private (int Start, int Length) Place(byte[] bytes)
    {
        var start = random.Next(bytes.Length);
        return (start, Math.Min(bytes.Length - start, 1 + random.Next(1 << random.Next(1, 8))));
    }

    private byte[] Piece(byte[] other)
    {
        if (other.Length == 0)
            return [(byte)random.Next(256)];
        var (start, length) = Place(other);
        return other[start..(start + length)];
    }

    private static byte[] Replaced(byte[] bytes, (int Start, int Length) place, byte[] by) => [.. bytes[..place.Start], .. by, .. bytes[(place.Start + place.Length)..]];
}
