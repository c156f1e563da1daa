using System.Runtime.InteropServices;

namespace PyramidFlow.Torch.Interop;

/// <summary>An argument of an operator call, made by implicit conversion from what C# has at hand.</summary>
internal readonly struct Arg
{
    private readonly ValueTag tag;
    private readonly long bits;

    private Arg(ValueTag tag, long bits, object? reference = null)
    {
        this.tag = tag;
        this.bits = bits;
        Reference = reference;
    }

    /// <summary>The schema's None.</summary>
    internal static Arg None => default;

    internal object? Reference { get; }

    /// <summary>Longs this argument needs beside its own value.</summary>
    internal int ListLength => Reference switch
    {
        long[] list => list.Length,
        double[] list => list.Length,
        IReadOnlyList<Tensor?> list => list.Count,
        string text => (text.Length * 3 / 8) + 1,
        _ => 0,
    };

    public static implicit operator Arg(Tensor? tensor) =>
        tensor is null ? default : new Arg(ValueTag.Tensor, tensor.Handle, tensor);

    public static implicit operator Arg(long value) => new(ValueTag.Int, value);

    public static implicit operator Arg(double value) => new(ValueTag.Double, BitConverter.DoubleToInt64Bits(value));

    public static implicit operator Arg(bool value) => new(ValueTag.Bool, value ? 1 : 0);

    public static implicit operator Arg(string text) => new(ValueTag.String, 0, text);

    public static implicit operator Arg(long[]? list) => list is null ? default : new(ValueTag.IntList, 0, list);

    public static implicit operator Arg(double[] list) => new(ValueTag.DoubleList, 0, list);

    public static implicit operator Arg(Tensor[] list) => new(ValueTag.TensorList, 0, list);

    public static implicit operator Arg(ElementType type) => new(ValueTag.Int, (long)type);

    public static implicit operator Arg(Device device) =>
        new(ValueTag.Device, ((long)device.Type << 32) | (uint)device.Index);

    public static implicit operator Arg(RandomGenerator? generator) =>
        generator is null ? default : new(ValueTag.Generator, generator.Handle, generator);

    /// <summary>A tensor whose handle somebody else owns and keeps alive during the call.</summary>
    internal static Arg Borrowed(nint handle) => new(ValueTag.Tensor, handle);

    /// <summary>A list with holes, as <c>aten::index</c> takes.</summary>
    internal static Arg Optional(Tensor?[] list) => new(ValueTag.OptionalTensorList, 0, list);

    /// <summary>The shim's form of this argument; list elements are written at <paramref name="next"/>.</summary>
    internal unsafe NativeValue Lower(ref long* next)
    {
        var value = new NativeValue { Tag = tag, Bits = bits };
        switch (Reference)
        {
            case long[] list:
                value.Count = list.Length;
                value.Bits = (long)next;
                foreach (var item in list)
                    *next++ = item;
                break;
            case double[] list:
                value.Count = list.Length;
                value.Bits = (long)next;
                foreach (var item in list)
                    *next++ = BitConverter.DoubleToInt64Bits(item);
                break;
            case IReadOnlyList<Tensor?> list:
                value.Count = list.Count;
                value.Bits = (long)next;
                foreach (var item in list)
                    *next++ = item?.Handle ?? 0;
                break;
            case string text:
                value.Bits = (long)next;
                value.Count = System.Text.Encoding.UTF8.GetBytes(text, MemoryMarshal.AsBytes(new Span<long>(next, ListLength)));
                next += ListLength;
                break;
            default:
                if (tag == ValueTag.Device)
                {
                    value.Bits = bits >> 32;
                    value.Count = (int)bits;
                }

                break;
        }

        return value;
    }
}
