using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace PyramidFlow.Media;

/// <summary>The metadata texts of a PNG file (chunks tEXt, zTXt and iTXt).</summary>
internal static class PngText
{
    // Limit for all texts together, so that a file cannot fill the memory.
    private const int MaxTextBytes = 4 << 20;

    // Cost of a text besides its characters, so that many small texts count as well.
    private const int TextCost = 64;

    /// <summary>Reads all texts of a file; a repeated keyword keeps its first text.</summary>
    /// <param name="path">The PNG file.</param>
    /// <exception cref="MediaException">The file is missing, not a PNG or damaged.</exception>
    public static IReadOnlyDictionary<string, string> Read(string path)
    {
        try
        {
            using var stream = File.OpenRead(path);
            return Read(stream);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw MediaFault.Missing(path, e);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            throw MediaFault.DamagedPng(path, e);
        }
    }

    internal static void Write(Stream stream, string keyword, string text)
    {
        var key = Encoding.Latin1.GetBytes(keyword);
        if (key.Length is 0 or > 79 || keyword.Trim().Length != keyword.Length || !keyword.All(IsLatin1) || keyword.Contains('\n'))
            throw MediaFault.BadPngKey(keyword);
        if (text.Contains('\0', StringComparison.Ordinal))
            throw MediaFault.NulInText(keyword);
        if (text.All(IsLatin1))
            PngChunk.Write(stream, "tEXt"u8, [.. key, 0, .. Encoding.Latin1.GetBytes(text)]);
        else
            PngChunk.Write(stream, "iTXt"u8, [.. key, 0, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes(text)]);
    }

    private static bool IsLatin1(char c) => c is '\n' or (>= ' ' and <= '~') or (>= '\u00a1' and <= '\u00ff');

    internal static Dictionary<string, string> Read(Stream stream)
    {
        Span<byte> head = stackalloc byte[8];
        stream.ReadExactly(head);
        if (!head.SequenceEqual(PngChunk.Signature))
            throw new InvalidDataException("it starts otherwise");
        var texts = new Dictionary<string, string>();
        var left = MaxTextBytes;
        while (true)
        {
            stream.ReadExactly(head);
            var length = BinaryPrimitives.ReadUInt32BigEndian(head);
            var type = Encoding.ASCII.GetString(head[4..]);
            if (type == "IEND")
                return texts;
            if (length + 4L > stream.Length - stream.Position)
                throw new InvalidDataException("a chunk is longer than the file");
            if (type is "tEXt" or "zTXt" or "iTXt")
            {
                if (length + TextCost > left)
                    throw TooMuch();
                left -= (int)length + TextCost;
                var data = new byte[length];
                stream.ReadExactly(data);
                var (keyword, text) = Parse(type, data, ref left);
                texts.TryAdd(keyword, text);
                stream.Seek(4, SeekOrigin.Current);
            }
            else
            {
                stream.Seek(length + 4L, SeekOrigin.Current);
            }
        }
    }

    private static (string Keyword, string Text) Parse(string type, ReadOnlySpan<byte> data, ref int left)
    {
        var keyword = Encoding.Latin1.GetString(UpToNull(ref data));
        if (type == "tEXt")
            return (keyword, Encoding.Latin1.GetString(data));
        if (data.Length < (type == "zTXt" ? 1 : 2))
            throw new InvalidDataException($"its {type} chunk is cut short");
        if (type == "zTXt")
            return (keyword, Encoding.Latin1.GetString(Inflate(data[1..], ref left)));
        var compressed = data[0] != 0;
        data = data[2..];
        UpToNull(ref data);                                                   // language
        UpToNull(ref data);                                                   // translated keyword
        return (keyword, Encoding.UTF8.GetString(compressed ? Inflate(data, ref left) : data));
    }

    private static ReadOnlySpan<byte> UpToNull(ref ReadOnlySpan<byte> data)
    {
        var end = data.IndexOf((byte)0);
        if (end < 0)
            throw new InvalidDataException("a text chunk is cut short");
        var part = data[..end];
        data = data[(end + 1)..];
        return part;
    }

    private static byte[] Inflate(ReadOnlySpan<byte> data, ref int left)
    {
        using var zlib = new ZLibStream(new MemoryStream(data.ToArray()), CompressionMode.Decompress);
        using var text = new MemoryStream();
        Span<byte> some = stackalloc byte[4096];
        while (zlib.Read(some) is var read and not 0)
        {
            if (read > left)
                throw TooMuch();
            left -= read;
            text.Write(some[..read]);
        }

        return text.ToArray();
    }

    private static InvalidDataException TooMuch() => new(MediaFault.TooMuchText(MaxTextBytes));
}
