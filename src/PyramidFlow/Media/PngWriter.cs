using System.Buffers.Binary;
using System.IO.Compression;

namespace PyramidFlow.Media;

/// <summary>Writes 8-bit RGB PNG files with metadata texts (read back by <see cref="PngText.Read(string)"/>).</summary>
public static class PngWriter
{
    /// <summary>Writes a file, which gets its name when it is complete.</summary>
    /// <param name="path">File to write. Creates its folder; replaces an existing file.</param>
    /// <param name="image">The picture.</param>
    /// <param name="metadata">Texts by keyword (1 to 79 Latin-1 characters).</param>
    /// <exception cref="MediaException">The folder cannot be written, or a keyword is invalid.</exception>
    public static void Write(string path, RgbImage image, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var png = Encode(image, metadata);
        using var file = PartialFile.Create(path);
        try
        {
            file.Stream.Write(png);
        }
        catch (IOException e)
        {
            throw MediaFault.NotWritten(file.Target, e);
        }

        file.Commit();
    }

    /// <summary>Encodes a PNG file.</summary>
    /// <param name="image">The picture.</param>
    /// <param name="metadata">Texts by keyword (1 to 79 Latin-1 characters).</param>
    /// <exception cref="MediaException">A keyword is invalid.</exception>
    public static byte[] Encode(RgbImage image, IReadOnlyDictionary<string, string>? metadata = null)
    {
        using var png = new MemoryStream();
        png.Write(PngChunk.Signature);
        Span<byte> header = stackalloc byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, image.Width);
        BinaryPrimitives.WriteInt32BigEndian(header[4..], image.Height);
        header[8] = 8;                                                        // bits per channel
        header[9] = 2;                                                        // red, green, blue
        PngChunk.Write(png, "IHDR"u8, header);
        PngChunk.Write(png, "sRGB"u8, [0]);
        foreach (var (keyword, text) in metadata ?? new Dictionary<string, string>())
            PngText.Write(png, keyword, text);
        PngChunk.Write(png, "IDAT"u8, Compress(image));
        PngChunk.Write(png, "IEND"u8, []);
        return png.ToArray();
    }

    private static ReadOnlySpan<byte> Compress(RgbImage image)
    {
        var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            var stride = image.Width * 3;
            var above = new byte[stride];
            var filtered = new byte[stride + 1];
            for (var y = 0; y < image.Height; y++)
            {
                var row = image.Pixels.Span.Slice(y * stride, stride);
                Filter(row, above, filtered);
                zlib.Write(filtered);
                row.CopyTo(above);
            }
        }

        return packed.GetBuffer().AsSpan(0, (int)packed.Length);
    }

    // Filter 4 of the PNG specification (Paeth): the best single choice for photographs and renderings.
    private static void Filter(ReadOnlySpan<byte> row, ReadOnlySpan<byte> above, Span<byte> filtered)
    {
        filtered[0] = 4;
        for (var i = 0; i < row.Length; i++)
        {
            var left = i < 3 ? 0 : row[i - 3];
            var corner = i < 3 ? 0 : above[i - 3];
            filtered[i + 1] = (byte)(row[i] - Paeth(left, above[i], corner));
        }
    }

    private static int Paeth(int left, int up, int corner)
    {
        var (a, b, c) = (Math.Abs(up - corner), Math.Abs(left - corner), Math.Abs(left + up - (2 * corner)));
        return a <= b && a <= c ? left : b <= c ? up : corner;
    }
}

/// <summary>A chunk of a PNG file: length, type, data, CRC-32 (PNG specification, section 5.3).</summary>
internal static class PngChunk
{
    public static ReadOnlySpan<byte> Signature => [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A];

    public static void Write(Stream stream, ReadOnlySpan<byte> type, ReadOnlySpan<byte> data)
    {
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(number, data.Length);
        stream.Write(number);
        stream.Write(type);
        stream.Write(data);
        BinaryPrimitives.WriteUInt32BigEndian(number, ~Crc(Crc(uint.MaxValue, type), data));
        stream.Write(number);
    }

    private static uint Crc(uint crc, ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
            crc = Table[(byte)(crc ^ b)] ^ (crc >> 8);
        return crc;
    }

    private static readonly uint[] Table = [.. Enumerable.Range(0, 256).Select(i =>
    {
        var c = (uint)i;
        for (var bit = 0; bit < 8; bit++)
            c = (c & 1) != 0 ? 0xEDB88320 ^ (c >> 1) : c >> 1;
        return c;
    })];
}
