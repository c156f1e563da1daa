namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// The printable character that stands for each byte in a byte-level BPE vocabulary: itself where it is printable
/// Latin-1, else U+0100 and on, in byte order (GPT-2's table).
/// </summary>
internal static class ByteAlphabet
{
    /// <summary>The character of each byte value.</summary>
    public static char[] Characters()
    {
        var characters = new char[256];
        var next = '\u0100';
        for (var b = 0; b < 256; b++)
            characters[b] = b is (>= '!' and <= '~') or (>= '¡' and <= '¬') or (>= '®' and <= 'ÿ') ? (char)b : next++;
        return characters;
    }

    /// <summary>The byte values in the order CLIP numbers them: the printable ones, then the others.</summary>
    public static IEnumerable<byte> InVocabularyOrder()
    {
        var characters = Characters();
        return Enumerable.Range(0, 256).OrderBy(b => characters[b] >= '\u0100').Select(b => (byte)b);
    }
}
