using System.Collections.Concurrent;
using System.Runtime.CompilerServices;

namespace PyramidFlow.Torch.Interop;

/// <summary>
/// An operator of libtorch's dispatcher, found once by its schema name (<c>aten::add.Tensor</c>) and called with tagged
/// values. Trailing arguments that are left out take the schema's defaults, so one call fits every libtorch that has it.
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

    /// <summary>Calls for one tensor.</summary>
    internal Tensor Call(params ReadOnlySpan<Arg> args)
    {
        NativeValue result;
        var count = Invoke(args, &result, 1);
        return count == 1 && result.Tag == ValueTag.Tensor
            ? Tensor.Own((nint)result.Bits)
            : throw new TorchException($"{name} gave {count} results where one tensor was expected");
    }

    /// <summary>Calls for its effect; results, if any, are freed.</summary>
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

    /// <summary>Calls for a number.</summary>
    internal double Number(params ReadOnlySpan<Arg> args)
    {
        NativeValue result;
        if (Invoke(args, &result, 1) != 1)
            throw new TorchException($"{name} gave no number");
        return result.Tag == ValueTag.Double ? BitConverter.Int64BitsToDouble(result.Bits) : result.Bits;
    }

    /// <summary>Calls for several tensors; one that libtorch leaves undefined is null.</summary>
    internal Tensor?[] CallMany(params ReadOnlySpan<Arg> args)
    {
        var results = stackalloc NativeValue[MaxResults];
        var count = Invoke(args, results, MaxResults);
        var tensors = new Tensor?[count];
        for (var i = 0; i < count; i++)
            tensors[i] = results[i].Tag == ValueTag.Tensor && results[i].Bits != 0 ? Tensor.Own((nint)results[i].Bits) : null;
        return tensors;
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
