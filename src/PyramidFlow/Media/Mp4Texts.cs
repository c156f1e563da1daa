using System.Buffers.Binary;
using System.Text;

namespace PyramidFlow.Media;

/// <summary>
/// The metadata texts of an mp4 as ffmpeg writes them (the metadata atoms of Apple: <c>moov/udta/meta</c> with <c>keys</c> and
/// <c>ilst</c>). Reads them without ffprobe, so that a folder of thousands of videos takes seconds.
/// </summary>
internal static class Mp4Texts
{
    // Limit of the metadata; the index of the frames is skipped at any size.
    private const int MaxBytes = 4 << 20;

    /// <summary>Reads the texts; null if the file is not an mp4 or stores its texts in another way.</summary>
    /// <param name="file">The file, at its first byte; seekable.</param>
    public static Dictionary<string, string>? Read(Stream file)
    {
        try
        {
            return UserData(file) is { } user && Child(user, "meta") is { } meta ? Texts(meta) : null;
        }
        catch (InvalidDataException)
        {
            // ffprobe reports the fault of a damaged file.
            return null;
        }
    }

    // Content of moov/udta at any position; skips frames and their index.
    private static byte[]? UserData(Stream file)
    {
        Span<byte> head = stackalloc byte[16];
        var end = file.Length;
        var inside = false;
        for (var isFirst = true; end - file.Position >= 8; isFirst = false)
        {
            var start = file.Position;
            var read = file.ReadAtLeast(head, 16, throwOnEndOfStream: false);
            long length = BinaryPrimitives.ReadUInt32BigEndian(head);
            var isLong = length == 1 && read == 16;
            if (isLong)
                length = BinaryPrimitives.ReadInt64BigEndian(head[8..]);
            var type = head[4..8];
            if ((isFirst && !type.SequenceEqual("ftyp"u8)) || length < (isLong ? 16 : 8) || length > end - start)
                return null;
            if (!inside && type.SequenceEqual("moov"u8))
            {
                (inside, end) = (true, start + length);
                file.Position = start + (isLong ? 16 : 8);
            }
            else if (inside && type.SequenceEqual("udta"u8))
            {
                if (isLong || length > MaxBytes)
                    return null;
                file.Position = start + 8;
                var content = new byte[length - 8];
                file.ReadExactly(content);
                return content;
            }
            else
            {
                file.Position = start + length;
            }
        }

        return null;
    }

    private static ReadOnlyMemory<byte>? Child(ReadOnlyMemory<byte> boxes, string type)
    {
        foreach (var box in Mp4Boxes.Parse(boxes.Span))
        {
            if (box.Type == type)
                return boxes.Slice(box.Offset + 8, box.Length - 8);
        }

        return null;
    }

    private static Dictionary<string, string>? Texts(ReadOnlyMemory<byte> meta)
    {
        // Skips version and flags, which QuickTime omits.
        if (meta.Length > 4 && BinaryPrimitives.ReadUInt32BigEndian(meta.Span) == 0)
            meta = meta[4..];
        if (Child(meta, "keys") is not { } keys || Child(meta, "ilst") is not { } items)
            return null;
        var names = Names(keys.Span);
        var texts = new Dictionary<string, string>();
        foreach (var item in Mp4Boxes.Parse(items.Span))
        {
            var number = BinaryPrimitives.ReadUInt32BigEndian(items.Span[(item.Offset + 4)..]);
            if (number < 1 || number > names.Count || Child(items.Slice(item.Offset + 8, item.Length - 8), "data") is not { Length: >= 8 } data)
                throw new InvalidDataException("a text has no key or no value");
            if (BinaryPrimitives.ReadUInt32BigEndian(data.Span) == 1)         // UTF-8
                texts.TryAdd(names[(int)number - 1], Encoding.UTF8.GetString(data.Span[8..]));
        }

        return texts;
    }

    private static List<string> Names(ReadOnlySpan<byte> keys)
    {
        var names = new List<string>();
        if (keys.Length < 8)
            throw new InvalidDataException("the list of keys is cut short");
        foreach (var key in Mp4Boxes.Parse(keys[8..]))                           // each a length, "mdta" and the name
            names.Add(Encoding.UTF8.GetString(keys.Slice(8 + key.Offset + 8, key.Length - 8)));
        return names;
    }
}

/// <summary>The outermost boxes of an mp4 file (ISO 14496-12, section 4.2): length, type, content.</summary>
internal static class Mp4Boxes
{
    /// <summary>Parses the boxes.</summary>
    /// <exception cref="InvalidDataException">A box is longer than the file.</exception>
    public static IReadOnlyList<(string Type, int Offset, int Length)> Parse(ReadOnlySpan<byte> file)
    {
        var boxes = new List<(string, int, int)>();
        for (var offset = 0; offset < file.Length;)
        {
            var rest = file[offset..];
            var length = rest.Length < 8 ? 0L : BinaryPrimitives.ReadUInt32BigEndian(rest);
            if (length == 1 && rest.Length >= 16)
                length = BinaryPrimitives.ReadInt64BigEndian(rest[8..]);
            if (length < 8 || length > rest.Length)
                throw new InvalidDataException($"the box at byte {offset} is cut short");
            boxes.Add((Encoding.Latin1.GetString(rest[4..8]), offset, (int)length));
            offset += (int)length;
        }

        return boxes;
    }
}
