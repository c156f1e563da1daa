using System.Buffers.Binary;
using System.Text;

namespace PyramidFlow.Torch.Tests.Checkpoints;

/// <summary>Writes stored zip files as torch.save lays them out: data aligned to 64 bytes by padding in the local headers.</summary>
internal sealed class ArchiveWriter
{
    private readonly List<(string Name, byte[] Data)> entries = [];

    public bool Zip64 { get; init; }

    public int Method { get; init; }

    public int Flags { get; init; }

    public int ClaimedExtra { get; init; }

    public static byte[] Archive(byte[] pickle, params byte[][] storages)
    {
        var writer = new ArchiveWriter().Add("archive/data.pkl", pickle).Add("archive/byteorder", "little"u8.ToArray());
        for (var i = 0; i < storages.Length; i++)
            writer.Add($"archive/data/{i}", storages[i]);
        return writer.Add("archive/version", "3\n"u8.ToArray()).End();
    }

    public ArchiveWriter Add(string name, byte[] data)
    {
        entries.Add((name, data));
        return this;
    }

    public byte[] End()
    {
        var file = new MemoryStream();
        var central = new MemoryStream();
        foreach (var (name, data) in entries)
        {
            var local = (int)file.Position;
            var nameBytes = Encoding.UTF8.GetBytes(name);
            var padding = (64 - ((local + 30 + nameBytes.Length + 4) % 64)) % 64;
            file.Write(Header(0x04034b50, data.Length)[..26]);
            Write(file, (ushort)nameBytes.Length, (ushort)(4 + padding));
            file.Write(nameBytes);
            Write(file, 0x4246, (ushort)padding);
            file.Write(new byte[padding]);
            file.Write(data);
            WriteCentral(central, nameBytes, data.Length + ClaimedExtra, local);
        }

        var start = file.Position;
        file.Write(central.ToArray());
        WriteEnd(file, start, central.Length);
        return file.ToArray();
    }

    private void WriteCentral(MemoryStream central, byte[] name, int length, int local)
    {
        var header = new byte[46];
        Header(0x02014b50, Zip64 ? -1 : length).AsSpan(4, 22).CopyTo(header.AsSpan(6));
        BinaryPrimitives.WriteUInt32LittleEndian(header, 0x02014b50);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(28), (ushort)name.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(30), (ushort)(Zip64 ? 28 : 0));
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(42), Zip64 ? -1 : local);
        central.Write(header);
        central.Write(name);
        if (!Zip64)
            return;
        Write(central, 1, 24);
        foreach (long value in (long[])[length, length, local])
            central.Write(BitConverter.GetBytes(value));
    }

    private void WriteEnd(MemoryStream file, long start, long length)
    {
        if (Zip64)
        {
            var at = file.Position;
            var record = new byte[56];
            BinaryPrimitives.WriteUInt32LittleEndian(record, 0x06064b50);
            BinaryPrimitives.WriteInt64LittleEndian(record.AsSpan(32), entries.Count);
            BinaryPrimitives.WriteInt64LittleEndian(record.AsSpan(40), length);
            BinaryPrimitives.WriteInt64LittleEndian(record.AsSpan(48), start);
            file.Write(record);
            var locator = new byte[20];
            BinaryPrimitives.WriteUInt32LittleEndian(locator, 0x07064b50);
            BinaryPrimitives.WriteInt64LittleEndian(locator.AsSpan(8), at);
            file.Write(locator);
        }

        var end = new byte[22];
        BinaryPrimitives.WriteUInt32LittleEndian(end, 0x06054b50);
        BinaryPrimitives.WriteUInt16LittleEndian(end.AsSpan(10), (ushort)(Zip64 ? ushort.MaxValue : entries.Count));
        BinaryPrimitives.WriteInt32LittleEndian(end.AsSpan(12), Zip64 ? -1 : (int)length);
        BinaryPrimitives.WriteInt32LittleEndian(end.AsSpan(16), Zip64 ? -1 : (int)start);
        file.Write(end);
    }

    private byte[] Header(uint signature, int length)
    {
        var header = new byte[30];
        BinaryPrimitives.WriteUInt32LittleEndian(header, signature);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(6), (ushort)Flags);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(8), (ushort)Method);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(18), length);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(22), length);
        return header;
    }

    private static void Write(MemoryStream stream, ushort a, ushort b)
    {
        stream.Write(BitConverter.GetBytes(a));
        stream.Write(BitConverter.GetBytes(b));
    }
}
