using System.IO.Compression;
using System.Text;
using PyramidFlow.Media;

namespace PyramidFlow.Tests.Media;

/// <summary>Small files that cost a careless reader much.</summary>
internal static class HostilePictures
{
    /// <summary>A picture of 8x8 pixels with compressed texts of <paramref name="bytes"/> zeros each.</summary>
    public static byte[] PngWithTexts(int count, int bytes) => Png(writer =>
    {
        var packed = Packed(bytes);
        for (var i = 0; i < count; i++)
            PngChunk.Write(writer, "zTXt"u8, [.. Encoding.ASCII.GetBytes($"key{i}"), 0, 0, .. packed]);
    });

    /// <summary>A picture of 8x8 pixels with <paramref name="count"/> texts of one letter.</summary>
    public static byte[] PngWithManyTexts(int count) => Png(writer =>
    {
        for (var i = 0; i < count; i++)
            PngChunk.Write(writer, "tEXt"u8, [.. Encoding.ASCII.GetBytes($"k{i}"), 0, (byte)'x']);
    });

    /// <summary>A picture that says 8x8 and whose pixels unpack to <paramref name="bytes"/>.</summary>
    public static byte[] PngWithTooManyPixels(int bytes)
    {
        using var file = new MemoryStream();
        file.Write(PngChunk.Signature);
        PngChunk.Write(file, "IHDR"u8, [0, 0, 0, 8, 0, 0, 0, 8, 8, 2, 0, 0, 0]);
        PngChunk.Write(file, "IDAT"u8, Packed(bytes));
        PngChunk.Write(file, "IEND"u8, []);
        return file.ToArray();
    }

    /// <summary>An animated GIF of enormous frames of 23 bytes each.</summary>
    public static byte[] Gif(int frames, ushort size)
    {
        using var file = new MemoryStream();
        var (low, high) = ((byte)size, (byte)(size >> 8));
        file.Write([.. "GIF89a"u8, low, high, low, high, 0x80, 0, 0, 255, 0, 0, 0, 0, 0]);
        for (var i = 0; i < frames; i++)
            file.Write([0x21, 0xF9, 4, 0, 4, 0, 0, 0, 0x2C, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0]);
        file.WriteByte(0x3B);
        return file.ToArray();
    }

    private static byte[] Packed(int bytes)
    {
        using var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.SmallestSize, leaveOpen: true))
        {
            var zeros = new byte[1 << 20];
            for (var left = bytes; left > 0; left -= zeros.Length)
                zlib.Write(zeros, 0, Math.Min(left, zeros.Length));
        }

        return packed.ToArray();
    }

    // The extra chunks stand behind the header of a whole picture.
    private static byte[] Png(Action<Stream> chunks)
    {
        var whole = PngWriter.Encode(TestPictures.Gradient(8, 8));
        using var file = new MemoryStream();
        file.Write(whole.AsSpan(0, 33));
        chunks(file);
        file.Write(whole.AsSpan(33));
        return file.ToArray();
    }
}
