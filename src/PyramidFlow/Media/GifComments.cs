using System.Text;

namespace PyramidFlow.Media;

/// <summary>
/// The metadata texts of a GIF file: comment extensions (GIF89a, section 24) of "key=text" in UTF-8. The key of a text without
/// one is <c>comment</c>.
/// </summary>
internal static class GifComments
{
    private const string Comment = "comment";

    // Limit for all texts together. Each text has a cost besides its characters, so that many small texts count as well.
    private const int MaxTextBytes = 4 << 20, TextCost = 64;
    private const byte Extension = 0x21, CommentLabel = 0xFE, Image = 0x2C, Trailer = 0x3B;

    /// <summary>Appends texts to a complete file.</summary>
    /// <exception cref="IOException">The file could not be changed.</exception>
    public static void Append(Stream file, IEnumerable<KeyValuePair<string, string>> texts)
    {
        using var added = new MemoryStream();
        foreach (var (key, text) in texts)
            AddComment(added, key == Comment && KeyLength(text) == 0 ? text : $"{key}={text}");
        added.WriteByte(Trailer);
        file.Seek(-1, SeekOrigin.End);
        file.Write(added.GetBuffer(), 0, (int)added.Length);
    }

    /// <summary>Reads the texts; a repeated key keeps its first text.</summary>
    /// <param name="file">The file, at its first byte.</param>
    /// <exception cref="InvalidDataException">The file is not a GIF, or is damaged.</exception>
    /// <exception cref="EndOfStreamException">The file is cut short.</exception>
    public static Dictionary<string, string> Read(Stream file)
    {
        Span<byte> head = stackalloc byte[13];                                // signature, screen size, flags, background, aspect
        file.ReadExactly(head);
        if (!head.StartsWith("GIF8"u8))
            throw new InvalidDataException("it starts otherwise");
        SkipColours(file, head[10]);
        var texts = new Dictionary<string, string>();
        var left = MaxTextBytes;
        while (true)
        {
            switch (Byte(file))
            {
                case Trailer:
                    return texts;
                case Extension:
                    var data = Blocks(file, Byte(file) == CommentLabel ? left -= TextCost : null);
                    left -= data.Length;
                    if (data.Length != 0)
                        AddText(texts, Encoding.UTF8.GetString(data));
                    break;
                case Image:
                    file.ReadExactly(head[..9]);                              // place, size, flags
                    SkipColours(file, head[8]);
                    _ = Byte(file);                                           // code size
                    _ = Blocks(file, most: null);
                    break;
                default:
                    throw new InvalidDataException("a block of an unknown kind");
            }
        }
    }

    private static void AddComment(Stream stream, string text)
    {
        stream.Write([Extension, CommentLabel]);
        foreach (var block in Encoding.UTF8.GetBytes(text).Chunk(byte.MaxValue))
        {
            stream.WriteByte((byte)block.Length);
            stream.Write(block);
        }

        stream.WriteByte(0);
    }

    private static void AddText(Dictionary<string, string> texts, string text)
    {
        var key = KeyLength(text);
        if (key == 0)
            texts.TryAdd(Comment, text);
        else
            texts.TryAdd(text[..key], text[(key + 1)..]);
    }

    // Length of the key of "key=...", or 0 without a key.
    private static int KeyLength(string text)
    {
        var end = text.IndexOf('=', StringComparison.Ordinal);
        return end > 0 && VideoMetadata.IsKey(text.AsSpan(0, end)) ? end : 0;
    }

    // Reads blocks of 1 to 255 bytes, each after its length, up to an empty one; returns their bytes if there is a maximum.
    private static byte[] Blocks(Stream file, int? most)
    {
        using var kept = new MemoryStream();
        var block = new byte[byte.MaxValue];
        while (Byte(file) is var length and not 0)
        {
            file.ReadExactly(block, 0, length);
            if (most < kept.Length + length)
                throw new InvalidDataException(MediaFault.TooMuchText(MaxTextBytes));
            if (most is not null)
                kept.Write(block, 0, length);
        }

        return kept.ToArray();
    }

    private static void SkipColours(Stream file, byte flags)
    {
        Span<byte> table = stackalloc byte[3 * 256];
        if ((flags & 0x80) != 0)
            file.ReadExactly(table[..(3 * (2 << (flags & 7)))]);
    }

    private static byte Byte(Stream file) =>
        file.ReadByte() is var value and >= 0 ? (byte)value : throw new EndOfStreamException(MediaFault.CutShort);
}
