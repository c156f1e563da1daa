using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using Google.Protobuf;

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
        Add(e => Text(e, 3, "brain.Event:2"));
        Add(e =>
        {
            Number(e, 2, from);
            Message(e, 7, session => Number(session, 1, SessionStart));
        });
    }

    private static double Now => DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 1000.0;

    /// <summary>Adds scalar values.</summary>
    /// <param name="step">Number of completed steps.</param>
    /// <param name="values">Named values.</param>
    public void Scalars(long step, IEnumerable<(string Name, double Value)> values)
    {
        AddSummary(step, summary =>
        {
            foreach (var (name, value) in values)
            {
                Message(summary, 1, scalar =>
                {
                    Text(scalar, 1, name);
                    scalar.WriteTag(2, WireFormat.WireType.Fixed32);
                    scalar.WriteFloat((float)value);
                });
            }
        });
    }

    /// <summary>Adds an image.</summary>
    /// <param name="step">Number of completed steps.</param>
    /// <param name="name">Name of the image.</param>
    /// <param name="png">A complete PNG file.</param>
    public void Image(long step, string name, ReadOnlySpan<byte> png)
    {
        // The first chunk of a PNG file has its width and height.
        var (width, height) = (BinaryPrimitives.ReadUInt32BigEndian(png[16..]), BinaryPrimitives.ReadUInt32BigEndian(png[20..]));
        var content = ByteString.CopyFrom(png);
        AddSummary(step, summary => Message(summary, 1, value =>
        {
            Text(value, 1, name);
            Message(value, 4, image =>
            {
                Number(image, 1, height);
                Number(image, 2, width);
                Number(image, 3, RgbColours);
                image.WriteTag(4, WireFormat.WireType.LengthDelimited);
                image.WriteBytes(content);
            });
        }));
    }

    /// <inheritdoc/>
    public void Dispose() => stream.Dispose();

    private static void Number(CodedOutputStream message, int field, long value)
    {
        message.WriteTag(field, WireFormat.WireType.Varint);
        message.WriteInt64(value);
    }

    private static void Text(CodedOutputStream message, int field, string value)
    {
        message.WriteTag(field, WireFormat.WireType.LengthDelimited);
        message.WriteString(value);
    }

    private static void Message(CodedOutputStream message, int field, Action<CodedOutputStream> write)
    {
        message.WriteTag(field, WireFormat.WireType.LengthDelimited);
        message.WriteBytes(UnsafeByteOperations.UnsafeWrap(Bytes(write)));
    }

    private static ReadOnlyMemory<byte> Bytes(Action<CodedOutputStream> write)
    {
        using var bytes = new MemoryStream();
        using (var message = new CodedOutputStream(bytes, leaveOpen: true))
            write(message);
        return bytes.GetBuffer().AsMemory(0, (int)bytes.Length);
    }

    private void AddSummary(long step, Action<CodedOutputStream> write) => Add(e =>
    {
        Number(e, 2, step);
        Message(e, 5, write);
    });

    private void Add(Action<CodedOutputStream> write)
    {
        var message = Bytes(e =>
        {
            e.WriteTag(1, WireFormat.WireType.Fixed64);
            e.WriteDouble(Now);
            write(e);
        }).Span;
        Span<byte> head = stackalloc byte[sizeof(ulong) + sizeof(uint)], foot = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt64LittleEndian(head, (ulong)message.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(head[sizeof(ulong)..], Checksum(head[..sizeof(ulong)]));
        BinaryPrimitives.WriteUInt32LittleEndian(foot, Checksum(message));
        stream.Write(head);
        stream.Write(message);
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
