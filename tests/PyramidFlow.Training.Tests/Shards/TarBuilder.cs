using System.Buffers.Binary;
using System.Formats.Tar;
using System.Globalization;
using System.Text;

namespace PyramidFlow.Training.Tests.Shards;

/// <summary>A tar archive of members that may be anything.</summary>
internal sealed class TarBuilder
{
    public const int Block = 512;

    private readonly MemoryStream bytes = new();

    /// <summary>An archive as .NET writes it.</summary>
    public static byte[] Write(TarEntryFormat format, params (string Name, byte[] Content)[] files)
    {
        using var archive = new MemoryStream();
        using (var writer = new TarWriter(archive, format, leaveOpen: true))
        {
            foreach (var (name, content) in files)
            {
                TarEntry entry = format switch
                {
                    TarEntryFormat.V7 => new V7TarEntry(TarEntryType.V7RegularFile, name),
                    TarEntryFormat.Ustar => new UstarTarEntry(TarEntryType.RegularFile, name),
                    TarEntryFormat.Gnu => new GnuTarEntry(TarEntryType.RegularFile, name),
                    _ => new PaxTarEntry(TarEntryType.RegularFile, name),
                };
                entry.DataStream = new MemoryStream(content);
                writer.WriteEntry(entry);
            }
        }

        return archive.ToArray();
    }

    /// <summary>A file.</summary>
    public TarBuilder File(string name, params byte[] content) => Member(Encoding.UTF8.GetBytes(name), '0', content);

    /// <summary>A member.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="kind">Its type flag.</param>
    /// <param name="content">Its content.</param>
    /// <param name="size">Its size as written; null is the truth, in octal digits.</param>
    public TarBuilder Member(byte[] name, char kind, byte[]? content = null, byte[]? size = null)
    {
        content ??= [];
        var header = new byte[Block];
        name.AsSpan(0, Math.Min(100, name.Length)).CopyTo(header);
        Encoding.ASCII.GetBytes("0000644\0" + "0000000\0" + "0000000\0").CopyTo(header, 100);
        (size ?? Octal(content.Length, 11)).CopyTo(header, 124);
        Octal(0, 11).CopyTo(header, 136);
        header[156] = (byte)kind;
        "ustar\000"u8.CopyTo(header.AsSpan(257));
        header.AsSpan(148, 8).Fill((byte)' ');
        Octal(header.Sum(each => each), 6).CopyTo(header, 148);
        bytes.Write(header);
        bytes.Write(content);
        bytes.Write(new byte[(Block - (content.Length % Block)) % Block]);
        return this;
    }

    /// <summary>Pax records of the next member.</summary>
    public TarBuilder Pax(params (string Key, string Value)[] records) => Member("pax"u8.ToArray(), 'x', [.. records.SelectMany(pair => Record(pair.Key, pair.Value))]);

    /// <summary>A size in the form of GNU tar: a mark and a big-endian number.</summary>
    public static byte[] Binary(long size, byte mark = 0x80)
    {
        var field = new byte[12];
        field[0] = mark;
        BinaryPrimitives.WriteInt64BigEndian(field.AsSpan(4), size);
        return field;
    }

    /// <summary>The archive with its end.</summary>
    public byte[] End() => [.. bytes.ToArray(), .. new byte[2 * Block]];

    /// <summary>The archive without an end.</summary>
    public byte[] Open() => bytes.ToArray();

    private static byte[] Octal(long number, int digits) => [.. Encoding.ASCII.GetBytes(Convert.ToString(number, 8).PadLeft(digits, '0')), 0];

    private static byte[] Record(string key, string value)
    {
        var rest = Encoding.UTF8.GetByteCount($" {key}={value}\n");
        var length = rest + 1;
        while (rest + length.ToString(CultureInfo.InvariantCulture).Length != length)
            length = rest + length.ToString(CultureInfo.InvariantCulture).Length;
        return Encoding.UTF8.GetBytes($"{length} {key}={value}\n");
    }
}
