using System.Buffers.Binary;
using System.Text;

namespace PyramidFlow.Training.Loop;

/// <summary>Writes the fields of a protocol buffers message, as far as event files need them.</summary>
internal sealed class ProtobufWriter
{
    private const int Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5;

    private readonly MemoryStream bytes = new();

    /// <summary>What was written so far.</summary>
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
