using System.Buffers.Binary;

namespace PyramidFlow.Media;

/// <summary>
/// Reduces the bytes of a picture to those of its first frame. A decoder would unpack texts and colour profiles and read further
/// frames, and a small file can hold gigabytes of them.
/// </summary>
internal static class PictureTrim
{
    private const byte Extension = 0x21, Control = 0xF9, Image = 0x2C, Trailer = 0x3B;

    /// <summary>Returns the bytes for a decoder.</summary>
    /// <param name="file">The file, with a valid header.</param>
    /// <param name="header">Header of the file; null for formats that stay unchanged.</param>
    public static byte[] FirstFrame(byte[] file, PictureHeader? header)
    {
        if (header is null)
            return file;
        if (file.AsSpan().StartsWith(PngChunk.Signature))
            return Png(file);
        if (file.AsSpan().StartsWith("GIF8"u8))
            return Gif(file);
        return header.LacksEnd ? [.. file, 0xFF, 0xD9] : file;
    }

    private static byte[] Png(ReadOnlySpan<byte> file)
    {
        using var kept = new MemoryStream(file.Length);
        kept.Write(PngChunk.Signature);
        for (var at = PngChunk.Signature.Length; ;)
        {
            var length = 12 + (int)BinaryPrimitives.ReadUInt32BigEndian(file[at..]);
            var type = file.Slice(at + 4, 4);
            if (type.SequenceEqual("IHDR"u8) || type.SequenceEqual("PLTE"u8) || type.SequenceEqual("tRNS"u8) || type.SequenceEqual("IDAT"u8))
                kept.Write(file.Slice(at, length));
            at += length;
            if (!type.SequenceEqual("IEND"u8))
                continue;
            kept.Write(file[(at - length)..at]);
            return kept.ToArray();
        }
    }

    private static byte[] Gif(ReadOnlySpan<byte> file)
    {
        using var kept = new MemoryStream();
        var at = 13 + Colours(file[10]);
        kept.Write(file[..at]);
        while (true)
        {
            var (start, kind) = (at, file[at]);
            at += kind == Image ? 10 + Colours(file[at + 9]) + 1 : 2;
            at = BlocksEnd(file, at);
            if (kind == Image || (kind == Extension && file[start + 1] == Control))
                kept.Write(file[start..at]);
            if (kind != Image)
                continue;
            kept.WriteByte(Trailer);
            return kept.ToArray();
        }
    }

    /// <summary>Finds the first image of a GIF.</summary>
    /// <returns>Whether the picture may have transparency.</returns>
    /// <exception cref="InvalidDataException">There is no image, or it is cut short.</exception>
    public static bool GifHasAlpha(ReadOnlySpan<byte> file)
    {
        var clear = false;
        for (var at = 13 + Colours(At(file, 10)); ;)
        {
            switch (At(file, at))
            {
                case Extension:
                    if (At(file, at + 1) == Control && At(file, at + 2) >= 4)
                        clear = (At(file, at + 3) & 1) != 0;
                    at = BlocksEnd(file, at + 2);
                    break;
                case Image:
                    var flags = At(file, at + 9);
                    BlocksEnd(file, at + 10 + Colours(flags) + 1);
                    return clear || !file.Slice(at + 1, 4).SequenceEqual((ReadOnlySpan<byte>)[0, 0, 0, 0]) || !file.Slice(at + 5, 4).SequenceEqual(file.Slice(6, 4));
                case Trailer:
                    throw new InvalidDataException("it has no picture");
                default:
                    throw new InvalidDataException("a block of an unknown kind");
            }
        }
    }

    // Size of a colour table, from the flags before it.
    private static int Colours(byte flags) => (flags & 0x80) != 0 ? 3 * (2 << (flags & 7)) : 0;

    private static int BlocksEnd(ReadOnlySpan<byte> file, int at)
    {
        while (At(file, at) is var length and not 0)
            at += 1 + length;
        return at + 1;
    }

    private static byte At(ReadOnlySpan<byte> file, int at) => at < file.Length ? file[at] : throw new InvalidDataException(MediaFault.CutShort);
}
