using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace PyramidFlow.Training.Shards;

/// <summary>What a header of a tar archive describes.</summary>
internal enum TarKind
{
    /// <summary>A file with its content.</summary>
    File,

    /// <summary>A folder.</summary>
    Folder,

    /// <summary>A hard or symbolic link.</summary>
    Link,

    /// <summary>A device or a pipe, or a kind that only one program knows.</summary>
    Special,

    /// <summary>A file that is stored without its empty parts.</summary>
    Sparse,

    /// <summary>Pax records of the next member.</summary>
    PaxOfNext,

    /// <summary>Pax records of all members that follow.</summary>
    PaxOfAll,

    /// <summary>The long name of the next member, as GNU tar writes it.</summary>
    LongName,

    /// <summary>The long target of the next link, as GNU tar writes it.</summary>
    LongTarget,
}

/// <summary>A header block of a tar archive: ustar, with the extensions of GNU tar.</summary>
/// <param name="Kind">What it describes.</param>
/// <param name="Name">Name in the block, as bytes; an extension before it may replace it.</param>
/// <param name="Size">Size of the content; an extension before it may replace it.</param>
internal readonly record struct TarHeader(TarKind Kind, byte[] Name, long Size)
{
    /// <summary>Size of a header, and the unit in which contents are padded.</summary>
    public const int BlockBytes = 512;

    private const int SizeAt = 124, SizeDigits = 12, SumAt = 148, SumDigits = 8, KindAt = 156, MagicAt = 257, PrefixAt = 345, PrefixBytes = 155, NameBytes = 100;

    /// <summary>Whether a block marks the end of an archive.</summary>
    public static bool IsEnd(ReadOnlySpan<byte> block) => !block.ContainsAnyExcept((byte)0);

    /// <summary>Reads a header.</summary>
    /// <param name="block">512 bytes.</param>
    /// <exception cref="InvalidDataException">It is no header; the message is a reason without the name of the archive.</exception>
    public static TarHeader Parse(ReadOnlySpan<byte> block)
    {
        if (Octal(block.Slice(SumAt, SumDigits)) is not { } sum || (sum != Sum(block, isSigned: false) && sum != Sum(block, isSigned: true)))
            throw new InvalidDataException(TrainingFault.NoTarHeader);
        var name = Text(block[..NameBytes]);
        // Only ustar has a prefix there; GNU tar keeps times in the same place.
        if (block.Slice(MagicAt, 6).SequenceEqual("ustar\0"u8) && Text(block.Slice(PrefixAt, PrefixBytes)) is { Length: > 0 } prefix)
            name = [.. prefix, (byte)'/', .. name];
        var kind = KindOf(block[KindAt], name);
        var size = Number(block.Slice(SizeAt, SizeDigits)) ?? throw new InvalidDataException(TrainingFault.TarSizeInvalid);
        return new TarHeader(kind, name, size);
    }

    private static TarKind KindOf(byte letter, byte[] name) => letter switch
    {
        // Before ustar a folder was a file whose name ends with a slash.
        (byte)'0' or 0 => name is [.., (byte)'/'] ? TarKind.Folder : TarKind.File,
        (byte)'7' => TarKind.File,
        (byte)'1' or (byte)'2' => TarKind.Link,
        (byte)'5' => TarKind.Folder,
        (byte)'S' => TarKind.Sparse,
        (byte)'x' or (byte)'X' => TarKind.PaxOfNext,
        (byte)'g' => TarKind.PaxOfAll,
        (byte)'L' => TarKind.LongName,
        (byte)'K' => TarKind.LongTarget,
        _ => TarKind.Special,
    };

    private static byte[] Text(ReadOnlySpan<byte> field) => field.IndexOf((byte)0) is var end and >= 0 ? field[..end].ToArray() : field.ToArray();

    // Octal digits, or a number of 8 bytes and more marked by the highest bit, as GNU tar writes sizes from 8 GiB.
    private static long? Number(ReadOnlySpan<byte> field)
    {
        if ((field[0] & 0x80) == 0)
            return Octal(field);
        return field[0] == 0x80 && !field[1..^8].ContainsAnyExcept((byte)0) && BinaryPrimitives.ReadInt64BigEndian(field[^8..]) is var number and >= 0 ? number : null;
    }

    private static long? Octal(ReadOnlySpan<byte> field)
    {
        var digits = field.Trim(" \0"u8);
        var number = 0L;
        foreach (var digit in digits)
        {
            if (digit is < (byte)'0' or > (byte)'7')
                return null;
            number = (number << 3) | (uint)(digit - '0');
        }

        return number;
    }

    // The field of the sum itself counts as spaces. Old programs added the bytes as signed numbers.
    private static long Sum(ReadOnlySpan<byte> block, bool isSigned)
    {
        var sum = 0L;
        for (var i = 0; i < BlockBytes; i++)
        {
            var value = i is >= SumAt and < SumAt + SumDigits ? (byte)' ' : block[i];
            sum += isSigned ? (sbyte)value : value;
        }

        return sum;
    }
}

/// <summary>The pax records that matter to a reader of contents.</summary>
/// <param name="Path">Name of the member, as bytes; null keeps that of the header.</param>
/// <param name="Size">Size of its content; null keeps that of the header.</param>
/// <param name="IsSparse">Whether the content is stored without its empty parts.</param>
internal readonly record struct PaxRecords(byte[]? Path, long? Size, bool IsSparse)
{
    /// <summary>Reads records of the form <c>LENGTH KEY=VALUE\n</c>.</summary>
    /// <exception cref="InvalidDataException">A record is malformed.</exception>
    public static PaxRecords Parse(ReadOnlySpan<byte> records)
    {
        var found = default(PaxRecords);
        // Some programs pad the records with zeros.
        while (records.Length > 0 && records[0] != 0)
        {
            var space = records[..Math.Min(records.Length, 12)].IndexOf((byte)' ');
            if (space < 1 || !int.TryParse(records[..space], NumberStyles.None, CultureInfo.InvariantCulture, out var length)
                || length <= space + 1 || length > records.Length || records[length - 1] != '\n')
            {
                throw new InvalidDataException(TrainingFault.PaxInvalid);
            }

            var record = records[(space + 1)..(length - 1)];
            if (record.IndexOf((byte)'=') is not (var equals and > 0))
                throw new InvalidDataException(TrainingFault.PaxInvalid);
            found = found.With(record[..equals], record[(equals + 1)..]);
            records = records[length..];
        }

        return found;
    }

    private PaxRecords With(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        if (key.StartsWith("GNU.sparse."u8))
            return this with { IsSparse = true };
        if (key.SequenceEqual("path"u8))
            return this with { Path = value.ToArray() };
        if (!key.SequenceEqual("size"u8))
            return this;
        return long.TryParse(Encoding.ASCII.GetString(value), NumberStyles.None, CultureInfo.InvariantCulture, out var size)
            ? this with { Size = size }
            : throw new InvalidDataException(TrainingFault.TarSizeInvalid);
    }
}
