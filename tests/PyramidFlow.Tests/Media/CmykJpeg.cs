namespace PyramidFlow.Tests.Media;

/// <summary>Writes an 8x8 CMYK JPEG of one colour, as Adobe's programs do (inverted values); ffmpeg writes none.</summary>
internal static class CmykJpeg
{
    public static byte[] Write(byte cyan, byte magenta, byte yellow, byte black)
    {
        byte[] inks = [cyan, magenta, yellow, black];
        var bits = string.Concat(inks.Select(ink => Code(255 - ink - 128)));
        bits = bits.PadRight((bits.Length + 7) / 8 * 8, '1');
        var scan = bits.Chunk(8).Select(octet => Convert.ToByte(new string(octet), 2))
            .SelectMany(value => value == 0xFF ? (byte[])[0xFF, 0] : [value]);
        return
        [
            0xFF, 0xD8,
            .. Segment(0xEE, [.. "Adobe"u8, 0, 100, 0, 0, 0, 0, 0]),          // transform 0: CMYK
            .. Segment(0xDB, [0, .. Enumerable.Repeat((byte)8, 64)]),         // 8, so that the DC value is the colour itself
            .. Segment(0xC0, [8, 0, 8, 0, 8, 4, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0]),
            .. Segment(0xC4, [0x00, 0, 0, 0, 9, .. new byte[12], 0, 1, 2, 3, 4, 5, 6, 7, 8]),
            .. Segment(0xC4, [0x10, 1, .. new byte[15], 0]),
            .. Segment(0xDA, [4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]),
            .. scan, 0xFF, 0xD9,
        ];
    }

    // A DC difference: its number of bits in a code of 4, its bits; then "no more values".
    private static string Code(int value)
    {
        var size = value == 0 ? 0 : (int)Math.Log2(Math.Abs(value)) + 1;
        var bits = value < 0 ? value + (1 << size) - 1 : value;
        return Convert.ToString(size, 2).PadLeft(4, '0')
            + (size == 0 ? "" : Convert.ToString(bits, 2).PadLeft(size, '0')) + "0";
    }

    private static byte[] Segment(byte type, byte[] data) => [0xFF, type, 0, (byte)(data.Length + 2), .. data];
}
