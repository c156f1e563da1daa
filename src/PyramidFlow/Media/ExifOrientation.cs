using System.Buffers.Binary;

namespace PyramidFlow.Media;

/// <summary>How a camera was held (EXIF 2.3, tag 274), and the ffmpeg filter that turns the picture upright.</summary>
internal static class ExifOrientation
{
    public const int Upright = 1;
    private const ushort Tag = 274, Short = 3;

    /// <summary>1 to 8; upright when the block does not say or is damaged, because the picture itself is whole.</summary>
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

    /// <summary>Filters with a comma behind each, none for an upright picture.</summary>
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

    /// <summary>Whether the upright picture has width and height changed over.</summary>
    public static bool IsSideways(int orientation) => orientation is >= 5 and <= 8;

    private static int UInt16(ReadOnlySpan<byte> bytes, bool little) =>
        little ? BinaryPrimitives.ReadUInt16LittleEndian(bytes) : BinaryPrimitives.ReadUInt16BigEndian(bytes);
}
