using System.Buffers.Binary;
using System.Text;
using PyramidFlow.Testing;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

public sealed class EventFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Curves_and_pictures_are_read_back()
    {
        var png = File.ReadAllBytes(Path.Combine(CommittedConfig.Path("../docs/images/sprites.png")));
        using (var events = new EventFile(folder.Path, 7))
        {
            events.Scalars(8, [("loss", 0.25), ("rate", 1e-3)]);
            events.Image(300, "samples", png);
        }

        var read = Records(File.ReadAllBytes(Directory.GetFiles(folder.Path, "events.out.tfevents.*").Single())).Select(Fields).ToList();
        Assert.Equal("brain.Event:2", Encoding.UTF8.GetString(read[0][3].Single().Bytes));
        Assert.Equal((7UL, 1UL), (read[1][2].Single().Number, Fields(read[1][7].Single().Bytes)[1].Single().Number));

        Assert.Equal(8UL, read[2][2].Single().Number);
        var values = Fields(read[2][5].Single().Bytes)[1].Select(value => Fields(value.Bytes)).ToList();
        Assert.Equal(["loss", "rate"], values.Select(value => Encoding.UTF8.GetString(value[1].Single().Bytes)));
        Assert.Equal([0.25f, 1e-3f], values.Select(value => BitConverter.UInt32BitsToSingle((uint)value[2].Single().Number)));

        Assert.Equal(300UL, read[3][2].Single().Number);
        var image = Fields(Fields(Fields(read[3][5].Single().Bytes)[1].Single().Bytes)[4].Single().Bytes);
        Assert.Equal(png, image[4].Single().Bytes);
        Assert.Equal((ulong)BinaryPrimitives.ReadUInt32BigEndian(png.AsSpan(16)), image[2].Single().Number);
    }

    [Fact]
    public void Every_start_has_a_file_of_its_own()
    {
        for (var i = 0; i < 3; i++)
            new EventFile(folder.Path, 0).Dispose();
        Assert.Equal(3, folder.Names.Count());
    }

    // TFRecord: length, its checksum, data, its checksum.
    private static IEnumerable<byte[]> Records(byte[] file)
    {
        for (var at = 0; at < file.Length;)
        {
            var length = (int)BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at));
            Assert.Equal(Masked(file.AsSpan(at, 8)), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 8)));
            var data = file.AsSpan(at + 12, length).ToArray();
            Assert.Equal(Masked(data), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 12 + length)));
            yield return data;
            at += 16 + length;
        }
    }

    // CRC-32C bit by bit, by its polynomial.
    private static uint Masked(ReadOnlySpan<byte> data)
    {
        var crc = uint.MaxValue;
        foreach (var value in data)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc >> 1) ^ ((crc & 1) * 0x82F63B78);
        }

        crc = ~crc;
        return unchecked(((crc >> 15) | (crc << 17)) + 0xA282EAD8);
    }

    private static ILookup<int, (ulong Number, byte[] Bytes)> Fields(byte[] message)
    {
        var fields = new List<(int Field, ulong Number, byte[] Bytes)>();
        for (var at = 0; at < message.Length;)
        {
            var key = Varint(message, ref at);
            byte[] bytes = [];
            ulong number = 0;
            switch (key & 7)
            {
                case 0:
                    number = Varint(message, ref at);
                    break;
                case 1:
                    number = BinaryPrimitives.ReadUInt64LittleEndian(message.AsSpan(at));
                    at += 8;
                    break;
                case 5:
                    number = BinaryPrimitives.ReadUInt32LittleEndian(message.AsSpan(at));
                    at += 4;
                    break;
                default:
                    var length = (int)Varint(message, ref at);
                    bytes = message.AsSpan(at, length).ToArray();
                    at += length;
                    break;
            }

            fields.Add(((int)(key >> 3), number, bytes));
        }

        return fields.ToLookup(field => field.Field, field => (field.Number, field.Bytes));
    }

    private static ulong Varint(byte[] message, ref int at)
    {
        var (value, shift) = (0UL, 0);
        byte next;
        do
        {
            next = message[at++];
            value |= (ulong)(next & 0x7F) << shift;
            shift += 7;
        }
        while (next >= 0x80);
        return value;
    }
}
