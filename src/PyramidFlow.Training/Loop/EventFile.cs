using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Text;

namespace PyramidFlow.Training.Loop;

/// <summary>
/// TensorBoard event file: records framed by length and checksum, each one an <c>Event</c> message
/// (tensorflow/core/util/event.proto).
/// </summary>
internal sealed class EventFile : IDisposable
{
    private const uint ChecksumOffset = 0xA282EAD8;
    private const int SessionStart = 1, RgbColours = 3;

    private readonly FileStream stream;

    /// <summary>Creates a new file next to those of earlier starts of the run.</summary>
    /// <param name="folder">TensorBoard's log folder.</param>
    /// <param name="from">Number of completed steps; TensorBoard hides later steps of earlier files.</param>
    public EventFile(string folder, long from)
    {
        var seconds = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        string path;
        do
            path = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"events.out.tfevents.{seconds++}.pyramidflow"));
        while (File.Exists(path));
        stream = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);
        Add(new ProtobufWriter().Write(1, Now).Write(3, "brain.Event:2"));
        Add(new ProtobufWriter().Write(1, Now).Write(2, from).Write(7, new ProtobufWriter().Write(1, SessionStart)));
    }

    private static double Now => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;

    /// <summary>Adds scalar values.</summary>
    /// <param name="step">Number of completed steps.</param>
    /// <param name="values">Named values.</param>
    public void Scalars(long step, IEnumerable<(string Name, double Value)> values)
    {
        var summary = new ProtobufWriter();
        foreach (var (name, value) in values)
            summary.Write(1, new ProtobufWriter().Write(1, name).Write(2, (float)value));
        Add(new ProtobufWriter().Write(1, Now).Write(2, step).Write(5, summary));
    }

    /// <summary>Adds an image.</summary>
    /// <param name="step">Number of completed steps.</param>
    /// <param name="name">Name of the image.</param>
    /// <param name="png">A complete PNG file.</param>
    public void Image(long step, string name, ReadOnlySpan<byte> png)
    {
        // The first chunk of a PNG file has its width and height.
        var image = new ProtobufWriter()
            .Write(1, (long)BinaryPrimitives.ReadUInt32BigEndian(png[20..])).Write(2, (long)BinaryPrimitives.ReadUInt32BigEndian(png[16..]))
            .Write(3, RgbColours).Write(4, png);
        var summary = new ProtobufWriter().Write(1, new ProtobufWriter().Write(1, name).Write(4, image));
        Add(new ProtobufWriter().Write(1, Now).Write(2, step).Write(5, summary));
    }

    /// <inheritdoc/>
    public void Dispose() => stream.Dispose();

    private void Add(ProtobufWriter message)
    {
        Span<byte> head = stackalloc byte[sizeof(ulong) + sizeof(uint)], foot = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt64LittleEndian(head, (ulong)message.Written.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(head[sizeof(ulong)..], Checksum(head[..sizeof(ulong)]));
        BinaryPrimitives.WriteUInt32LittleEndian(foot, Checksum(message.Written));
        stream.Write(head);
        stream.Write(message.Written);
        stream.Write(foot);
        stream.Flush();
    }

    // Masked CRC32C of the record format.
    private static uint Checksum(ReadOnlySpan<byte> data)
    {
        var crc = uint.MaxValue;
        foreach (var value in data)
            crc = BitOperations.Crc32C(crc, value);
        return unchecked(BitOperations.RotateRight(~crc, 15) + ChecksumOffset);
    }
}

/// <summary>Writes the fields of a protocol buffers message, as far as event files need them.</summary>
internal sealed class ProtobufWriter
{
    private const int Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5;

    private readonly MemoryStream bytes = new();

    /// <summary>The bytes written so far.</summary>
    public ReadOnlySpan<byte> Written => bytes.GetBuffer().AsSpan(0, (int)bytes.Length);

    public ProtobufWriter Write(int field, long value)
    {
        Key(field, Varint);
        Number((ulong)value);
        return this;
    }

    public ProtobufWriter Write(int field, double value)
    {
        Key(field, Fixed64);
        Span<byte> little = stackalloc byte[sizeof(double)];
        BinaryPrimitives.WriteDoubleLittleEndian(little, value);
        bytes.Write(little);
        return this;
    }

    public ProtobufWriter Write(int field, float value)
    {
        Key(field, Fixed32);
        Span<byte> little = stackalloc byte[sizeof(float)];
        BinaryPrimitives.WriteSingleLittleEndian(little, value);
        bytes.Write(little);
        return this;
    }

    public ProtobufWriter Write(int field, ReadOnlySpan<byte> value)
    {
        Key(field, Bytes);
        Number((ulong)value.Length);
        bytes.Write(value);
        return this;
    }

    public ProtobufWriter Write(int field, string value) => Write(field, Encoding.UTF8.GetBytes(value));

    public ProtobufWriter Write(int field, ProtobufWriter message) => Write(field, message.Written);

    private void Key(int field, int type) => Number((ulong)((field << 3) | type));

    private void Number(ulong value)
    {
        while (value >= 0x80)
        {
            bytes.WriteByte((byte)(value | 0x80));
            value >>= 7;
        }

        bytes.WriteByte((byte)value);
    }
}
