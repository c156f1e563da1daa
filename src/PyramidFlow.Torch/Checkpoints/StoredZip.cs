using System.Buffers.Binary;
using System.Text;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>
/// The directory of a zip file with uncompressed entries, as <c>torch.save</c> writes it: the place of the bytes of each entry.
/// Every offset and length is checked against the length of the file; nothing is extracted. Layout: PKWARE APPNOTE 4.3.
/// </summary>
internal sealed class StoredZip
{
    private const uint EndSignature = 0x06054b50;
    private const uint End64LocatorSignature = 0x07064b50;
    private const uint End64Signature = 0x06064b50;
    private const uint CentralSignature = 0x02014b50;
    private const uint LocalSignature = 0x04034b50;
    private const int EndLength = 22, End64LocatorLength = 20, End64Length = 56, CentralLength = 46, LocalLength = 30;
    private const int MaxEntries = 1 << 20;
    private const int MaxDirectoryBytes = 256 << 20;

    // Memory of an entry without its name.
    private const int EntryBytes = 96;

    private readonly MappedFile file;
    private readonly ArchiveBudget budget;
    private readonly Dictionary<string, (long Offset, long Length)> entries = [];

    internal StoredZip(MappedFile file, ArchiveBudget budget)
    {
        (this.file, this.budget) = (file, budget);
        var (start, length, count) = FindDirectory();
        ReadDirectory(start, length, count);
    }

    /// <summary>Offset and length of each entry, by name.</summary>
    internal IReadOnlyDictionary<string, (long Offset, long Length)> Entries => entries;

    private (long Start, long Length, long Count) FindDirectory()
    {
        // Only a comment of at most 64 KB can follow the end record.
        var tailStart = Math.Max(0, file.Length - EndLength - ushort.MaxValue);
        var tail = file.Bytes(tailStart, file.Length - tailStart);
        for (var i = tail.Length - EndLength; i >= 0; i--)
        {
            var end = tail[i..];
            if (Read32(end, 0) == EndSignature && Read16(end, 20) <= end.Length - EndLength)
            {
                return FindDirectory64(tailStart + i)
                    ?? CheckDirectory(Read32(end, 16), Read32(end, 12), Read16(end, 10), limit: tailStart + i);
            }
        }

        throw CheckpointFault.ZipDirectoryMissing(file.Path);
    }

    private (long Start, long Length, long Count)? FindDirectory64(long end)
    {
        if (end < End64LocatorLength)
            return null;
        var locator = file.Bytes(end - End64LocatorLength, End64LocatorLength);
        if (Read32(locator, 0) != End64LocatorSignature)
            return null;
        var at = Read64(locator, 8);
        if (at > (ulong)(end - End64LocatorLength) || (ulong)(end - End64LocatorLength) - at < End64Length)
            throw CheckpointFault.Zip64RecordOutside(file.Path);
        var record = file.Bytes((long)at, End64Length);
        return Read32(record, 0) == End64Signature
            ? CheckDirectory(Read64(record, 48), Read64(record, 40), Read64(record, 32), limit: (long)at)
            : throw CheckpointFault.Zip64RecordMissing(file.Path);
    }

    private (long Start, long Length, long Count) CheckDirectory(ulong start, ulong length, ulong count, long limit)
    {
        if (start > (ulong)limit || length > (ulong)limit - start)
            throw CheckpointFault.ZipDirectoryOutside(file.Path, length, start, file.Length);
        return length <= MaxDirectoryBytes && count <= MaxEntries
            ? ((long)start, (long)length, (long)count)
            : throw CheckpointFault.ZipDirectoryTooLarge(file.Path, count, length);
    }

    private void ReadDirectory(long start, long length, long count)
    {
        var rest = file.Bytes(start, length);
        for (long i = 0; i < count; i++)
        {
            if (rest.Length < CentralLength || Read32(rest, 0) != CentralSignature)
                throw CheckpointFault.ZipDirectoryCutOff(file.Path, i, count);
            int nameLength = Read16(rest, 28), extraLength = Read16(rest, 30), commentLength = Read16(rest, 32);
            var whole = CentralLength + nameLength + extraLength + commentLength;
            if (rest.Length < whole)
                throw CheckpointFault.ZipDirectoryCutOffInside(file.Path, i, count);
            var name = rest.Slice(CentralLength, nameLength);
            AddEntry(rest[..CentralLength], name, rest.Slice(CentralLength + nameLength, extraLength));
            rest = rest[whole..];
        }
    }

    private void AddEntry(ReadOnlySpan<byte> central, ReadOnlySpan<byte> nameBytes, ReadOnlySpan<byte> extra)
    {
        budget.Take(EntryBytes + (2L * nameBytes.Length));
        var name = Encoding.UTF8.GetString(nameBytes);
        const int encrypted = 1;
        if ((Read16(central, 8) & encrypted) != 0)
            throw CheckpointFault.EntryEncrypted(file.Path, name);
        if (Read16(central, 10) != 0)
            throw CheckpointFault.EntryCompressed(file.Path, name);

        // A zip64 extra field holds, in this order, the values that do not fit in 32 bits.
        ulong compressed = Read32(central, 20), plain = Read32(central, 24), local = Read32(central, 42);
        var wide = FindExtra64(extra);
        Widen(ref plain, ref wide, name);
        Widen(ref compressed, ref wide, name);
        Widen(ref local, ref wide, name);
        if (compressed != plain)
            throw CheckpointFault.EntryLengthDiffers(file.Path, name, compressed, plain);
        var offset = CheckLocal(name, nameBytes, local, plain);
        if (!entries.TryAdd(name, (offset, (long)plain)))
            throw CheckpointFault.EntryTwice(file.Path, name);
    }

    // The bytes follow the local header, whose extra field differs from that of the directory: torch.save pads with it.
    private long CheckLocal(string name, ReadOnlySpan<byte> nameBytes, ulong local, ulong length)
    {
        var end = (ulong)file.Length;
        if (local > end || end - local < LocalLength)
            throw CheckpointFault.EntryOutside(file.Path, name, local, end);
        var header = file.Bytes((long)local, LocalLength);
        int nameLength = Read16(header, 26), extraLength = Read16(header, 28);
        var offset = local + LocalLength + (ulong)nameLength + (ulong)extraLength;
        if (Read32(header, 0) != LocalSignature || offset > end
            || !file.Bytes((long)local + LocalLength, nameLength).SequenceEqual(nameBytes))
        {
            throw CheckpointFault.EntryMisplaced(file.Path, name);
        }

        return length <= end - offset
            ? (long)offset
            : throw CheckpointFault.EntryCutOff(file.Path, name, length, end - offset);
    }

    private static ReadOnlySpan<byte> FindExtra64(ReadOnlySpan<byte> extra)
    {
        while (extra.Length >= 4)
        {
            int id = Read16(extra, 0), length = Read16(extra, 2);
            if (length > extra.Length - 4)
                break;
            if (id == 1)
                return extra.Slice(4, length);
            extra = extra[(4 + length)..];
        }

        return [];
    }

    private void Widen(ref ulong value, ref ReadOnlySpan<byte> wide, string name)
    {
        if (value != uint.MaxValue)
            return;
        if (wide.Length < 8)
            throw CheckpointFault.EntryWithoutSize(file.Path, name);
        value = Read64(wide, 0);
        wide = wide[8..];
    }

    private static ushort Read16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    private static uint Read32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static ulong Read64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]);
}
