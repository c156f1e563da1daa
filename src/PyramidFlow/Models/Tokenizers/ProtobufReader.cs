using System.Buffers.Binary;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>Minimal reader of the protobuf wire format; every length is checked against what is left.</summary>
internal ref struct ProtobufReader(ReadOnlySpan<byte> message)
{
    private ReadOnlySpan<byte> rest = message;
    private int wireType;

    /// <summary>Moves to the next field; false at the end of the message.</summary>
    /// <param name="field">The field's number.</param>
    public bool Next(out int field)
    {
        if (rest.IsEmpty)
        {
            field = 0;
            return false;
        }

        var tag = RawVarint();
        if (tag > int.MaxValue || tag >> 3 == 0)
            throw new InvalidDataException($"field tag {tag} is out of range");
        field = (int)(tag >> 3);
        wireType = (int)(tag & 7);
        return true;
    }

    public ulong Varint()
    {
        Require(0);
        return RawVarint();
    }

    public float Single()
    {
        Require(5);
        return BinaryPrimitives.ReadSingleLittleEndian(Take(4));
    }

    public ReadOnlySpan<byte> Bytes()
    {
        Require(2);
        return Take(RawVarint());
    }

    /// <summary>Passes over the field's value.</summary>
    public void Skip()
    {
        switch (wireType)
        {
            case 0:
                RawVarint();
                break;
            case 1:
                Take(8);
                break;
            case 2:
                Take(RawVarint());
                break;
            case 5:
                Take(4);
                break;
            default:
                throw new InvalidDataException($"wire type {wireType} is unknown");
        }
    }

    private readonly void Require(int type)
    {
        if (wireType != type)
            throw new InvalidDataException($"a field has wire type {wireType} in place of {type}");
    }

    private ulong RawVarint()
    {
        ulong value = 0;
        for (var shift = 0; shift < 64; shift += 7)
        {
            var b = Take(1)[0];
            value |= (ulong)(b & 0x7F) << shift;
            if (b < 0x80)
                return value;
        }

        throw new InvalidDataException("a number has more than ten bytes");
    }

    private ReadOnlySpan<byte> Take(ulong count)
    {
        if (count > (ulong)rest.Length)
            throw new InvalidDataException($"a field of {count} bytes begins {rest.Length} bytes before the end");
        var taken = rest[..(int)count];
        rest = rest[(int)count..];
        return taken;
    }
}
