using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// SentencePiece's compiled normalisation rules (T5 uses <c>nmt_nfkc</c>): a darts-clone double array from UTF-8 text to
/// offsets into a block of NUL-terminated replacements. Layout: uint32 byte size of the array, the array's uint32 units,
/// the replacements; all little-endian.
/// </summary>
internal sealed class PrecompiledCharsmap
{
    // The fast tokenizer of the reference looks up a grapheme whole only below this many UTF-8 bytes.
    private const int MaxGraphemeBytes = 5;

    private readonly uint[] units;
    private readonly byte[] replacements;

    /// <summary>Reads the compiled rules.</summary>
    /// <exception cref="InvalidDataException">The sizes inside do not fit the data.</exception>
    public PrecompiledCharsmap(ReadOnlySpan<byte> blob)
    {
        if (blob.Length < 8)
            throw new InvalidDataException($"the precompiled charsmap has only {blob.Length} bytes");
        var arrayBytes = BinaryPrimitives.ReadUInt32LittleEndian(blob);
        if (arrayBytes == 0 || arrayBytes % 4 != 0 || arrayBytes > blob.Length - 4)
        {
            throw new InvalidDataException(
                $"the precompiled charsmap says its array has {arrayBytes} bytes, of {blob.Length} in all");
        }

        units = new uint[arrayBytes / 4];
        for (var i = 0; i < units.Length; i++)
            units[i] = BinaryPrimitives.ReadUInt32LittleEndian(blob[(4 + (4 * i))..]);
        replacements = blob[(4 + (int)arrayBytes)..].ToArray();
        if (replacements.Length > 0 && replacements[^1] != 0)
            throw new InvalidDataException("the precompiled charsmap's last replacement has no end");
    }

    /// <summary>Applies the rules grapheme by grapheme, as the reference's fast tokenizer does.</summary>
    /// <param name="text">The text.</param>
    /// <param name="most">Most characters that it may become.</param>
    /// <exception cref="InvalidDataException">It becomes longer.</exception>
    public string Apply(string text, int most)
    {
        var output = new List<byte>(text.Length + 16);
        Span<byte> utf8 = stackalloc byte[4];
        Span<byte> grapheme = stackalloc byte[MaxGraphemeBytes];
        for (var rest = text.AsSpan(); rest.Length > 0;)
        {
            var length = StringInfo.GetNextTextElementLength(rest);
            var element = rest[..length];
            rest = rest[length..];
            if (length <= MaxGraphemeBytes && Encoding.UTF8.GetByteCount(element) <= MaxGraphemeBytes)
            {
                var bytes = grapheme[..Encoding.UTF8.GetBytes(element, grapheme)];
                if (TryReplace(bytes, output, most))
                    continue;
            }

            foreach (var rune in element.EnumerateRunes())
            {
                var bytes = utf8[..rune.EncodeToUtf8(utf8)];
                if (!TryReplace(bytes, output, most))
                    output.AddRange(bytes);
            }
        }

        return Encoding.UTF8.GetString(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(output));
    }

    // The shortest rule that begins the chunk replaces the whole chunk: that is what the reference does.
    private bool TryReplace(ReadOnlySpan<byte> chunk, List<byte> output, int most)
    {
        var at = Offset(units[0]);
        foreach (var b in chunk)
        {
            at ^= b;
            if (b == 0 || at >= (uint)units.Length)
                return false;
            var unit = units[at];
            if ((unit & 0x800000FF) != b)
                return false;
            at ^= Offset(unit);
            if ((unit & 0x100) == 0)
                continue;
            if (at >= (uint)units.Length)
                return false;
            var start = units[at] & 0x7FFFFFFF;
            if (start >= replacements.Length)
                return false;
            var replacement = replacements.AsSpan((int)start);
            var length = replacement.IndexOf((byte)0);
            // A character has three bytes at most.
            if (output.Count + length > 3L * most)
                throw NormalizerStep.TooLong(most);
            output.AddRange(replacement[..length]);
            return true;
        }

        return false;
    }

    private static uint Offset(uint unit) => (unit >> 10) << (int)((unit & 0x200) >> 6);
}
