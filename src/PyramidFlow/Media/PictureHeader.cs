using System.Buffers.Binary;

namespace PyramidFlow.Media;

/// <summary>The header of a PNG, JPEG, GIF or WebP file, read without decoding it.</summary>
/// <param name="Width">Stored width in pixels; can be 0.</param>
/// <param name="Height">Stored height in pixels; can be 0.</param>
/// <param name="Orientation">EXIF orientation, 1 to 8, for PNG and WebP; null where ffmpeg reads it.</param>
/// <param name="IsAnimatedWebP">Whether it is an animated WebP, which ffmpeg cannot read.</param>
/// <param name="IsSideways">Whether it is displayed rotated by 90 degrees, with width and height swapped.</param>
internal sealed record PictureHeader(long Width, long Height, int? Orientation = null, bool IsAnimatedWebP = false, bool IsSideways = false)
{
    /// <summary>Stored pixel aspect ratio (width over height).</summary>
    public double Aspect { get; init; } = 1;

    /// <summary>Whether the picture may have transparency.</summary>
    public bool HasAlpha { get; init; }

    /// <summary>HDR colours, or null.</summary>
    public HdrColours? Hdr { get; init; }

    /// <summary>Whether a JPEG lacks its end marker.</summary>
    public bool LacksEnd { get; init; }

    /// <summary>Pixel aspect ratio after rotation.</summary>
    public double UprightAspect => IsSideways ? 1 / Aspect : Aspect;

    /// <summary>Display width and height: upright, with square pixels.</summary>
    public (long Width, long Height) Shown =>
        IsSideways ? DisplayTransform.Size(Height, Width, UprightAspect) : DisplayTransform.Size(Width, Height, UprightAspect);

    /// <summary>Reads the header; null for other formats.</summary>
    /// <exception cref="InvalidDataException">The file is cut short or damaged.</exception>
    public static PictureHeader? Read(ReadOnlySpan<byte> file)
    {
        if (file.StartsWith(PngChunk.Signature))
            return ReadPng(file[PngChunk.Signature.Length..]);
        if (file.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]))
            return ReadJpeg(file[2..]);
        if (file.StartsWith("GIF8"u8))
            return ReadGif(file);
        return file.StartsWith("RIFF"u8) && file.Length >= 12 && file[8..].StartsWith("WEBP"u8) ? ReadWebP(file) : null;
    }

    private static PictureHeader ReadPng(ReadOnlySpan<byte> chunks)
    {
        PictureHeader? header = null;
        var orientation = ExifOrientation.Upright;
        var (most, packed) = (0L, 0L);
        while (true)
        {
            var length = BinaryPrimitives.ReadUInt32BigEndian(Take(ref chunks, 4));
            var type = Take(ref chunks, 4);
            var data = Take(ref chunks, length);
            Take(ref chunks, 4);                                              // checksum
            if (header is null)
            {
                if (!type.SequenceEqual("IHDR"u8) || length != 13)
                    throw new InvalidDataException("it does not start with a header");
                most = MostPacked(data);
                header = new(BinaryPrimitives.ReadUInt32BigEndian(data), BinaryPrimitives.ReadUInt32BigEndian(data[4..])) { HasAlpha = (data[9] & 4) != 0 };
            }
            else if (type.SequenceEqual("IDAT"u8) && (packed += length) > most)
            {
                throw new InvalidDataException(MediaFault.TooMuchData);
            }
            else if (type.SequenceEqual("tRNS"u8))
            {
                header = header with { HasAlpha = true };
            }
            else if (type.SequenceEqual("pHYs"u8) && length == 9)
            {
                header = header with { Aspect = AspectOf(BinaryPrimitives.ReadUInt32BigEndian(data), BinaryPrimitives.ReadUInt32BigEndian(data[4..]), data[8]) };
            }
            else if (type.SequenceEqual("cICP"u8) && length == 4)
            {
                header = header with { Hdr = HdrColours.FromRgbTransfer(data[1]) };
            }
            else if (type.SequenceEqual("eXIf"u8))
            {
                orientation = ExifOrientation.Read(data);
            }
            else if (type.SequenceEqual("IEND"u8))
            {
                return header.Turned(orientation);
            }
        }
    }

    // Maximum size of badly compressed pixels. A decoder would unpack bytes beyond it as well.
    private static long MostPacked(ReadOnlySpan<byte> header)
    {
        const int AnyPacking = 1 << 16;
        var (width, height) = (BinaryPrimitives.ReadUInt32BigEndian(header), BinaryPrimitives.ReadUInt32BigEndian(header[4..]));
        // Such sizes are refused later.
        if (width > int.MaxValue || height > int.MaxValue)
            return long.MaxValue;
        var channels = header[9] switch { 2 => 3, 4 => 2, 6 => 4, _ => 1 };
        return AnyPacking + (long)Math.Min(2.0 * height * (1 + ((double)width * channels * header[8] / 8)), long.MaxValue / 2);
    }

    // Segments: 0xFF, type, length with itself, data; entropy-coded data follows the first SOS segment.
    private static PictureHeader ReadJpeg(ReadOnlySpan<byte> segments)
    {
        PictureHeader? header = null;
        var sideways = false;
        var aspect = 1.0;
        while (true)
        {
            while (Take(ref segments, 1)[0] != 0xFF)
                continue;                                                     // stray bytes between segments are harmless
            byte type;
            do
                type = Take(ref segments, 1)[0];
            while (type == 0xFF);                                             // fill bytes
            if (type is 0x01 or (>= 0xD0 and <= 0xD7))
                continue;                                                     // no length, no data
            var length = BinaryPrimitives.ReadUInt16BigEndian(Take(ref segments, 2));
            if (length < 2)
                throw new InvalidDataException("a segment has no length");
            var data = Take(ref segments, length - 2u);
            if (type is >= 0xC0 and <= 0xCF and not (0xC4 or 0xC8 or 0xCC))
            {
                header = data.Length >= 5
                    ? new(BinaryPrimitives.ReadUInt16BigEndian(data[3..]), BinaryPrimitives.ReadUInt16BigEndian(data[1..]))
                    : throw new InvalidDataException("its header is cut short");
            }

            if (type == 0xE0 && data.Length >= 12 && data.StartsWith("JFIF\0"u8))
                aspect = AspectOf(BinaryPrimitives.ReadUInt16BigEndian(data[8..]), BinaryPrimitives.ReadUInt16BigEndian(data[10..]), data[7]);
            if (type == 0xE1)
                sideways |= ExifOrientation.IsSideways(ExifOrientation.Read(data));
            if (type != 0xDA)
                continue;
            if (header is null)
                throw new InvalidDataException("it has no header");
            return header with { IsSideways = sideways, Aspect = aspect, LacksEnd = segments.LastIndexOf((ReadOnlySpan<byte>)[0xFF, 0xD9]) < 0 };
        }
    }

    private static PictureHeader ReadGif(ReadOnlySpan<byte> file)
    {
        var rest = file;
        var head = Take(ref rest, 13);                                        // signature, size, flags, background, aspect
        return new(BinaryPrimitives.ReadUInt16LittleEndian(head[6..]), BinaryPrimitives.ReadUInt16LittleEndian(head[8..]))
        {
            Aspect = head[12] == 0 ? 1 : DisplayTransform.AspectOf(head[12] + 15, 64),
            HasAlpha = PictureTrim.GifHasAlpha(file),
        };
    }

    private static PictureHeader ReadWebP(ReadOnlySpan<byte> file)
    {
        Take(ref file, 4);
        var chunks = Take(ref file, BinaryPrimitives.ReadUInt32LittleEndian(Take(ref file, 4)));
        Take(ref chunks, 4);                                                  // "WEBP"
        PictureHeader? header = null;
        var orientation = ExifOrientation.Upright;
        while (chunks.Length > 0)
        {
            var type = Take(ref chunks, 4);
            var length = BinaryPrimitives.ReadUInt32LittleEndian(Take(ref chunks, 4));
            var data = Take(ref chunks, length);
            Take(ref chunks, Math.Min(length & 1, (uint)chunks.Length));      // chunks are padded to an even length
            header ??= WebPHeader(type, data);
            if (type.SequenceEqual("EXIF"u8))
                orientation = ExifOrientation.Read(data);
        }

        return header is null ? throw new InvalidDataException("it has no header") : header.Turned(orientation);
    }

    // Extended, lossless or lossy header (WebP container and VP8 specifications).
    private static PictureHeader? WebPHeader(ReadOnlySpan<byte> type, ReadOnlySpan<byte> data)
    {
        if (type.SequenceEqual("VP8X"u8))
        {
            var head = Take(ref data, 10);
            return new(1 + Int24(head[4..]), 1 + Int24(head[7..]), IsAnimatedWebP: (head[0] & 2) != 0) { HasAlpha = (head[0] & 0x10) != 0 };
        }

        if (type.SequenceEqual("VP8L"u8))
        {
            var bits = BinaryPrimitives.ReadUInt32LittleEndian(Take(ref data, 5)[1..]);
            return new(1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)) { HasAlpha = (bits & 0x10000000) != 0 };
        }

        if (!type.SequenceEqual("VP8 "u8))
            return null;
        var frame = Take(ref data, 10);
        return new(BinaryPrimitives.ReadUInt16LittleEndian(frame[6..]) & 0x3FFF, BinaryPrimitives.ReadUInt16LittleEndian(frame[8..]) & 0x3FFF);
    }

    private PictureHeader Turned(int orientation) => this with { Orientation = orientation, IsSideways = ExifOrientation.IsSideways(orientation) };

    // Without a unit the numbers are the pixel aspect ratio, as in ffmpeg; with a unit they are pixels per inch or metre.
    private static double AspectOf(uint across, uint down, byte unit) => unit == 0 ? DisplayTransform.AspectOf(across, down) : DisplayTransform.AspectOf(down, across);

    private static int Int24(ReadOnlySpan<byte> bytes) => bytes[0] | (bytes[1] << 8) | (bytes[2] << 16);

    private static ReadOnlySpan<byte> Take(ref ReadOnlySpan<byte> bytes, uint length)
    {
        if (length > bytes.Length)
            throw new InvalidDataException(MediaFault.CutShort);
        var taken = bytes[..(int)length];
        bytes = bytes[(int)length..];
        return taken;
    }
}

/// <summary>EXIF orientation (EXIF 2.3, tag 274) and the ffmpeg filter that rotates the picture upright.</summary>
internal static class ExifOrientation
{
    public const int Upright = 1;
    private const ushort Tag = 274, Short = 3;

    /// <summary>Reads the orientation, 1 to 8; upright if it is missing or the block is damaged, because the picture itself is intact.</summary>
    /// <param name="exif">An EXIF block: a TIFF header and its first directory, perhaps behind "Exif\0\0".</param>
    public static int Read(ReadOnlySpan<byte> exif)
    {
        if (exif.StartsWith("Exif\0\0"u8))
            exif = exif[6..];
        var little = exif.StartsWith("II*\0"u8);
        if (exif.Length < 8 || (!little && !exif.StartsWith("MM\0*"u8)))
            return Upright;
        var start = little ? BinaryPrimitives.ReadUInt32LittleEndian(exif[4..]) : BinaryPrimitives.ReadUInt32BigEndian(exif[4..]);
        if (start > exif.Length - 2)
            return Upright;
        var directory = exif[(int)start..];
        var entries = UInt16(directory, little);
        for (directory = directory[2..]; entries > 0 && directory.Length >= 12; entries--, directory = directory[12..])
        {
            if (UInt16(directory, little) == Tag && UInt16(directory[2..], little) == Short)
                return UInt16(directory[8..], little) is var value and >= 1 and <= 8 ? value : Upright;
        }

        return Upright;
    }

    /// <summary>Filters that rotate the picture upright, each followed by a comma.</summary>
    public static string Filter(int orientation) => orientation switch
    {
        2 => "hflip,",
        3 => "hflip,vflip,",
        4 => "vflip,",
        5 => "transpose=cclock_flip,",
        6 => "transpose=clock,",
        7 => "transpose=clock_flip,",
        8 => "transpose=cclock,",
        _ => "",
    };

    /// <summary>Whether width and height of the upright picture are swapped.</summary>
    public static bool IsSideways(int orientation) => orientation is >= 5 and <= 8;

    private static int UInt16(ReadOnlySpan<byte> bytes, bool little) =>
        little ? BinaryPrimitives.ReadUInt16LittleEndian(bytes) : BinaryPrimitives.ReadUInt16BigEndian(bytes);
}
