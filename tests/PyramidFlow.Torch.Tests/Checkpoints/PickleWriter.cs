using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace PyramidFlow.Torch.Tests.Checkpoints;

/// <summary>Writes pickles of protocol 2 the way Python does, one instruction a method, hostile ones included.</summary>
internal sealed class PickleWriter
{
    private readonly List<byte> bytes = [0x80, 2];

    /// <summary>The storage that <see cref="Weight"/> and <see cref="Weights"/> point to: 1 to 6.</summary>
    public static byte[] SixFloats { get; } = MemoryMarshal.AsBytes<float>([1, 2, 3, 4, 5, 6]).ToArray();

    /// <summary>A state dict of one tensor, w.</summary>
    public static byte[] Weights(long count, long offset, long[] shape, long[] strides) =>
        new PickleWriter().StateDict(d => d.Text("w").Tensor("torch.FloatStorage", "0", count, offset, shape, strides)).End();

    public byte[] End() => [.. bytes, (byte)'.'];

    public PickleWriter Raw(params byte[] raw)
    {
        bytes.AddRange(raw);
        return this;
    }

    public PickleWriter Op(string ops) => Raw(Encoding.Latin1.GetBytes(ops));

    public PickleWriter Global(string module, string name) => Op($"c{module}\n{name}\n");

    public PickleWriter Text(string text)
    {
        var utf8 = Encoding.UTF8.GetBytes(text);
        return Op("X").Int32(utf8.Length).Raw(utf8);
    }

    public PickleWriter Number(long value)
    {
        if (value is >= 0 and < 256)
            return Raw((byte)'K', (byte)value);
        if (value is >= int.MinValue and <= int.MaxValue)
            return Op("J").Int32((int)value);
        var raw = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(raw, value);
        return Raw(0x8a, 8).Raw(raw);
    }

    public PickleWriter Tuple(params long[] values)
    {
        Op("(");
        foreach (var value in values)
            Number(value);
        return Op("t");
    }

    /// <summary>The state dict torch.save writes for a module: an OrderedDict with a _metadata attribute.</summary>
    public PickleWriter StateDict(Action<PickleWriter> items)
    {
        Global("collections", "OrderedDict").Op(")R(");
        items(this);
        return Op("u").Op("}").Text("_metadata").Global("collections", "OrderedDict").Op(")Rsb");
    }

    public PickleWriter Tensor(string storageClass, string entry, long count, long offset, long[] shape, long[] strides)
    {
        Global("torch._utils", "_rebuild_tensor_v2").Op("(");
        Storage(storageClass, entry, count).Number(offset).Tuple(shape).Tuple(strides);
        return Op("\x89").Global("collections", "OrderedDict").Op(")RtR");
    }

    /// <summary>All of <see cref="SixFloats"/>.</summary>
    public PickleWriter Weight() => Tensor("torch.FloatStorage", "0", 6, 0, [6], [1]);

    public PickleWriter Storage(string storageClass, string entry, long count)
    {
        var dot = storageClass.LastIndexOf('.');
        return Op("(").Text("storage").Global(storageClass[..dot], storageClass[(dot + 1)..]).Text(entry).Text("cpu").Number(count).Op("tQ");
    }

    public PickleWriter Int32(int value)
    {
        var raw = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(raw, value);
        return Raw(raw);
    }
}
