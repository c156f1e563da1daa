using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace PyramidFlow.Torch;

/// <summary>
/// An operator of the dispatcher of libtorch, looked up once by its schema name (<c>aten::add.Tensor</c>) and called with tagged
/// values. Omitted trailing arguments take the defaults of the schema, so a call works with every libtorch that has the operator.
/// </summary>
internal sealed unsafe class Operator
{
    private const int MaxResults = 512;

    private static readonly ConcurrentDictionary<string, Operator?> Found = new();

    private readonly nint handle;
    private readonly string name;

    private Operator(string name, nint handle)
    {
        this.name = name;
        this.handle = handle;
    }

    internal static Operator Find(string name) => Found.GetOrAdd(name, TryFind)
        ?? throw new TorchException($"libtorch {TorchRuntime.Version} has no operator {name}");

    internal static bool Exists(string name) => Found.GetOrAdd(name, TryFind) is not null;

    /// <summary>Calls the operator for one tensor.</summary>
    internal Tensor Call(params ReadOnlySpan<Arg> args)
    {
        NativeValue result;
        var count = Invoke(args, &result, 1);
        return count == 1 && result.Tag == ValueTag.Tensor
            ? Tensor.Own((nint)result.Bits)
            : throw new TorchException($"{name} gave {count} results where one tensor was expected");
    }

    /// <summary>Calls the operator for its effect and frees its results.</summary>
    internal void Run(params ReadOnlySpan<Arg> args)
    {
        var results = stackalloc NativeValue[8];
        var count = Invoke(args, results, 8);
        for (var i = 0; i < count; i++)
        {
            if (results[i].Tag == ValueTag.Tensor && results[i].Bits != 0)
                Native.pf_tensor_free((nint)results[i].Bits);
        }
    }

    /// <summary>Calls the operator for a number.</summary>
    internal double Number(params ReadOnlySpan<Arg> args)
    {
        NativeValue result;
        if (Invoke(args, &result, 1) != 1)
            throw new TorchException($"{name} gave no number");
        return result.Tag == ValueTag.Double ? BitConverter.Int64BitsToDouble(result.Bits) : result.Bits;
    }

    /// <summary>Calls the operator for several tensors; an undefined tensor is null.</summary>
    internal Tensor?[] CallMany(params ReadOnlySpan<Arg> args)
    {
        var results = stackalloc NativeValue[MaxResults];
        var count = Invoke(args, results, MaxResults);
        var tensors = new Tensor?[count];
        for (var i = 0; i < count; i++)
            tensors[i] = results[i].Tag == ValueTag.Tensor && results[i].Bits != 0 ? Tensor.Own((nint)results[i].Bits) : null;
        return tensors;
    }

    /// <summary>Adds two tensors repeatedly inside libtorch, and frees the sums: measures an operator without the call from C#.</summary>
    /// <exception cref="TorchException">The shapes do not match.</exception>
    internal static void RepeatAdd(Tensor a, Tensor b, long count)
    {
        if (Native.pf_repeat_add(a.Handle, b.Handle, count) < 0)
            throw Native.Error("the addition failed");
    }

    private static Operator? TryFind(string name)
    {
        TorchRuntime.EnsureStarted();
        var dot = name.IndexOf('.', StringComparison.Ordinal);
        var handle = dot < 0 ? Native.pf_operator_find(name, "") : Native.pf_operator_find(name[..dot], name[(dot + 1)..]);
        return handle == 0 ? null : new Operator(name, handle);
    }

    [SkipLocalsInit]
    private int Invoke(ReadOnlySpan<Arg> args, NativeValue* results, int capacity)
    {
        var values = stackalloc NativeValue[args.Length];
        var listLength = 0;
        foreach (ref readonly var arg in args)
            listLength += arg.ListLength;
        var pool = listLength <= 256 ? stackalloc long[listLength] : new long[listLength];
        fixed (long* lists = pool)
        {
            var next = lists;
            for (var i = 0; i < args.Length; i++)
                values[i] = args[i].Lower(ref next);
            var count = Native.pf_operator_call(handle, values, args.Length, results, capacity);
            foreach (ref readonly var arg in args)
                GC.KeepAlive(arg.Reference);
            return count >= 0 ? count : throw Native.Error(name);
        }
    }
}

/// <summary>An argument of an operator call, created by implicit conversion from C# values.</summary>
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

    /// <summary>None of the schema.</summary>
    internal static Arg None => default;

    internal object? Reference { get; }

    /// <summary>Number of longs that the elements of this argument need.</summary>
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

    /// <summary>A tensor whose owner keeps it alive during the call.</summary>
    internal static Arg Borrowed(nint handle) => new(ValueTag.Tensor, handle);

    /// <summary>A list of optional tensors, as for <c>aten::index</c>.</summary>
    internal static Arg Optional(Tensor?[] list) => new(ValueTag.OptionalTensorList, 0, list);

    /// <summary>Converts to the representation of the shim; writes list elements at <paramref name="next"/>.</summary>
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
