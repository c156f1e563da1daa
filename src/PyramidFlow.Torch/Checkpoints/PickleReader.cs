using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>
/// Parses the pickle of a PyTorch checkpoint. Supports only the instructions and names that tensors in containers need, refuses
/// everything else and executes nothing. The length of the pickle and the budget bound time and memory.
/// </summary>
/// <param name="path">Name of the file for error messages.</param>
/// <param name="budget">Limit of items and bytes for the whole file.</param>
internal sealed class PickleReader(string path, ArchiveBudget budget)
{
    private const int MaxBytes = 16 << 20;
    private const int MaxInstructions = 4 << 20;
    private const int MaxNameLength = 256;

    // Approximate bytes of a reference, a boxed number, a container, an entry of the memo, and a tensor without its shape.
    private const int Reference = 8, Number = 24, Container = 80, Entry = 48, Record = 128;

    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);
    private static readonly object Mark = new();

    private readonly List<object?> stack = [];
    private readonly Dictionary<long, object?> memo = [];

    /// <summary>Parses the object that the pickle describes.</summary>
    /// <exception cref="CheckpointException">The pickle is damaged, too large, or asks for anything but tensors.</exception>
    internal object? Read(ReadOnlySpan<byte> pickle)
    {
        if (pickle.Length > MaxBytes)
            throw CheckpointFault.TensorListTooLong(path, pickle.Length, MaxBytes);
        var input = new Input(pickle);
        try
        {
            for (var i = 0; i < MaxInstructions; i++)
            {
                var instruction = (char)input.Byte();
                if (instruction == '.')
                    return Pop();
                Run(instruction, ref input);
            }
        }
        catch (Exception e) when (e is ArgumentException)
        {
            throw CheckpointFault.TensorListDamaged(path, e);
        }

        throw CheckpointFault.TooManyInstructions(path, MaxInstructions);
    }

    private void Run(char instruction, ref Input input)
    {
        switch (instruction)
        {
            case '\x80':                                                // PROTO
                _ = input.Byte();
                break;
            case '\x95':                                                // FRAME
                _ = input.Take(8);
                break;
            case '(':
                Push(Mark);
                break;
            case '0':
                _ = Pop();
                break;
            case 'N':
                Push(null);
                break;
            case '\x88' or '\x89':                                      // NEWTRUE, NEWFALSE
                Push(instruction == '\x88', Number);
                break;
            case 'K':                                                   // BININT1
                Push((long)input.Byte(), Number);
                break;
            case 'M':                                                   // BININT2
                Push((long)BinaryPrimitives.ReadUInt16LittleEndian(input.Take(2)), Number);
                break;
            case 'J':                                                   // BININT
                Push((long)BinaryPrimitives.ReadInt32LittleEndian(input.Take(4)), Number);
                break;
            case '\x8a':                                                // LONG1
                Push(Integer(input.Take(input.Byte())), Number);
                break;
            case '\x8b':                                                // LONG4
                Push(Integer(input.Take(input.Length32())), Number);
                break;
            case 'G':                                                   // BINFLOAT
                Push(BinaryPrimitives.ReadDoubleBigEndian(input.Take(8)), Number);
                break;
            case 'X' or 'T':                                            // BINUNICODE, BINSTRING
                Push(Text(input.Take(input.Length32())));
                break;
            case '\x8c' or 'U':                                         // SHORT_BINUNICODE, SHORT_BINSTRING
                Push(Text(input.Take(input.Byte())));
                break;
            case 'B':                                                   // BINBYTES
                _ = input.Take(input.Length32());
                Push(PickleIgnored.Instance);
                break;
            case 'C':                                                   // SHORT_BINBYTES
                _ = input.Take(input.Byte());
                Push(PickleIgnored.Instance);
                break;
            case 'q':                                                   // BINPUT
                Keep(input.Byte());
                break;
            case 'r':                                                   // LONG_BINPUT
                Keep(input.Length32());
                break;
            case '\x94':                                                // MEMOIZE
                Keep(memo.Count);
                break;
            case 'h':                                                   // BINGET
                Push(Recall(input.Byte()));
                break;
            case 'j':                                                   // LONG_BINGET
                Push(Recall(input.Length32()));
                break;
            case 'c':                                                   // GLOBAL
                Push(Global(input.Line(), input.Line()));
                break;
            case '\x93':                                                // STACK_GLOBAL
                var name = As<string>(Pop());
                Push(Global(As<string>(Pop()), name));
                break;
            case 'Q':                                                   // BINPERSID
                Push(Storage(Pop()), Entry);
                break;
            case 'R':                                                   // REDUCE
                var arguments = As<object?[]>(Pop());
                // Shape and strides are among the first arguments of every known call.
                budget.Take(Record + (Reference * arguments.Take(8).OfType<object?[]>().Sum(part => Math.Min(part.Length, PickleGlobals.MaxRank))));
                Push(PickleGlobals.Call(Pop(), arguments) ?? throw new ArgumentException("not the arguments of this function"));
                break;
            case '\x81':                                                // NEWOBJ: the settings of a run, beside its weights
                if (Pop() is not object?[] { Length: 0 } || Pop() is not PickleFunction.Attributes)
                    throw CheckpointFault.RefusedInstruction(path, instruction);
                Push(new PickleDictionary(), Container);
                break;
            case 'b':                                                   // BUILD: attributes, such as a state dict's _metadata
                _ = Pop();
                if (Peek() is not (PickleDictionary or PickleTensor))
                    throw new ArgumentException("attributes of something that has none");
                break;
            default:
                Collect(instruction);
                break;
        }
    }

    private void Collect(char instruction)
    {
        switch (instruction)
        {
            case '}':
                Push(new PickleDictionary(), Container);
                break;
            case ']':
                Push(new List<object?>(), Container);
                break;
            case ')':
                Push(Array.Empty<object?>());
                break;
            case 't':
                Push(PopToMark());
                break;
            case '\x85' or '\x86' or '\x87':                            // TUPLE1 to TUPLE3
                Push(PopMany(instruction - '\x84'));
                break;
            case 'a':                                                   // APPEND
                var item = Pop();
                As<List<object?>>(Peek()).Add(item);
                break;
            case 'e':                                                   // APPENDS
                var items = PopToMark();
                As<List<object?>>(Peek()).AddRange(items);
                break;
            case 's':                                                   // SETITEM
                SetItems(PopMany(2));
                break;
            case 'u':                                                   // SETITEMS
                SetItems(PopToMark());
                break;
            default:
                throw CheckpointFault.RefusedInstruction(path, instruction);
        }
    }

    private void SetItems(object?[] items)
    {
        if (items.Length % 2 != 0)
            throw new ArgumentException("a key without a value");
        var dictionary = As<PickleDictionary>(Peek());
        for (var i = 0; i < items.Length; i += 2)
            dictionary.Items.Add((items[i], items[i + 1]));
    }

    private object Global(string module, string name) => PickleGlobals.Find(module, name)
        ?? throw CheckpointFault.RunsCode(path, $"{Printable(module)}.{Printable(name)}");

    private PickleStorage Storage(object? id) => id is object?[] and ["storage", PickleStorageClass kind, string entry, string, long count, ..]
        ? new PickleStorage(kind.Type, entry, count)
        : throw CheckpointFault.ForeignStorage(path);

    private object? Recall(long index) =>
        memo.TryGetValue(index, out var value) ? value : throw new ArgumentException("nothing was put there");

    // Null is a valid value in Python, but not of any type asked for here.
    private static T As<T>(object? value)
        where T : class => value as T ?? throw new ArgumentException("an instruction is given something of another kind");

    private void Push(object? value, int size = 0)
    {
        budget.Take(Reference + size);
        stack.Add(value);
    }

    private string Text(ReadOnlySpan<byte> utf8)
    {
        budget.Take(Number + (2L * utf8.Length));
        return StrictUtf8.GetString(utf8);
    }

    private void Keep(long index)
    {
        budget.Take(Entry);
        memo[index] = Peek();
    }

    private object? Peek() => stack.Count > 0 && !ReferenceEquals(stack[^1], Mark)
        ? stack[^1]
        : throw new ArgumentException("the stack is empty");

    private object? Pop()
    {
        var value = Peek();
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    private object?[] PopMany(int count)
    {
        var start = stack.Count - count;
        if (start < 0 || stack.IndexOf(Mark, start) >= 0)
            throw new ArgumentException("the stack is empty");
        return Cut(start, start);
    }

    private object?[] PopToMark()
    {
        var mark = stack.LastIndexOf(Mark);
        return mark >= 0 ? Cut(mark, mark + 1) : throw new ArgumentException("there is no mark");
    }

    private object?[] Cut(int from, int first)
    {
        budget.Take(Container + (2L * Reference * (stack.Count - first)));
        var items = CollectionsMarshal.AsSpan(stack)[first..].ToArray();
        stack.RemoveRange(from, stack.Count - from);
        return items;
    }

    // Python integers have any length. Those beyond 64 bits, such as random seeds, are ignored: they are never a size.
    private static object Integer(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > 8)
            return PickleIgnored.Instance;
        var value = bytes.Length > 0 && (sbyte)bytes[^1] < 0 ? -1L : 0;
        for (var i = bytes.Length - 1; i >= 0; i--)
            value = (value << 8) | bytes[i];
        return value;
    }

    private static string Printable(string name) => string.Concat(name.Select(c => c is > ' ' and < '\x7f' ? c : '?'));

    private ref struct Input(ReadOnlySpan<byte> rest)
    {
        private ReadOnlySpan<byte> rest = rest;

        internal byte Byte() => Take(1)[0];

        internal long Length32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

        internal ReadOnlySpan<byte> Take(long length)
        {
            if (length > rest.Length)
                throw new ArgumentException("the pickle ends too early");
            var taken = rest[..(int)length];
            rest = rest[(int)length..];
            return taken;
        }

        internal string Line()
        {
            var end = rest[..Math.Min(rest.Length, MaxNameLength)].IndexOf((byte)'\n');
            if (end < 0)
                throw new ArgumentException("a name without an end");
            var line = StrictUtf8.GetString(rest[..end]);
            rest = rest[(end + 1)..];
            return line;
        }
    }
}

/// <summary>
/// The Python names that a plain checkpoint uses and the meaning of calling them. This table is complete: no other name can be
/// looked up.
/// </summary>
internal static class PickleGlobals
{
    /// <summary>Maximum rank, as in libtorch; it also keeps short calls from copying a long list repeatedly.</summary>
    internal const int MaxRank = 64;

    private static readonly Dictionary<string, object> Known = new()
    {
        ["collections.OrderedDict"] = PickleFunction.OrderedDict,
        ["argparse.Namespace"] = PickleFunction.Attributes,
        ["torch.Size"] = PickleFunction.Size,
        ["torch._utils._rebuild_tensor_v2"] = PickleFunction.RebuildTensor,
        ["torch._utils._rebuild_tensor_v3"] = PickleFunction.RebuildTensorOfType,
        ["torch._utils._rebuild_parameter"] = PickleFunction.RebuildParameter,
        ["torch._utils._rebuild_parameter_with_state"] = PickleFunction.RebuildParameterWithState,
        ["torch.storage.UntypedStorage"] = new PickleStorageClass(null),
        ["torch.FloatStorage"] = new PickleStorageClass(ElementType.Float32),
        ["torch.DoubleStorage"] = new PickleStorageClass(ElementType.Float64),
        ["torch.HalfStorage"] = new PickleStorageClass(ElementType.Float16),
        ["torch.BFloat16Storage"] = new PickleStorageClass(ElementType.BFloat16),
        ["torch.LongStorage"] = new PickleStorageClass(ElementType.Int64),
        ["torch.IntStorage"] = new PickleStorageClass(ElementType.Int32),
        ["torch.ShortStorage"] = new PickleStorageClass(ElementType.Int16),
        ["torch.CharStorage"] = new PickleStorageClass(ElementType.Int8),
        ["torch.ByteStorage"] = new PickleStorageClass(ElementType.UInt8),
        ["torch.BoolStorage"] = new PickleStorageClass(ElementType.Bool),
        ["torch.float32"] = ElementType.Float32,
        ["torch.float64"] = ElementType.Float64,
        ["torch.float16"] = ElementType.Float16,
        ["torch.bfloat16"] = ElementType.BFloat16,
        ["torch.int64"] = ElementType.Int64,
        ["torch.int32"] = ElementType.Int32,
        ["torch.int16"] = ElementType.Int16,
        ["torch.int8"] = ElementType.Int8,
        ["torch.uint8"] = ElementType.UInt8,
        ["torch.bool"] = ElementType.Bool,
    };

    /// <summary>The object of a name, or null if checkpoints do not need it.</summary>
    internal static object? Find(string module, string name) => Known.GetValueOrDefault($"{module}.{name}");

    /// <summary>The result of a call, or null if the arguments do not fit.</summary>
    internal static object? Call(object? function, object?[] arguments) => (function, arguments) switch
    {
        (PickleFunction.OrderedDict, []) => new PickleDictionary(),
        (PickleFunction.Size, [object?[] sizes]) => sizes,
        (PickleFunction.RebuildTensor, [PickleStorage { Type: { } type } storage, long offset, object?[] shape, object?[] strides, ..]) =>
            Rebuild(storage, type, offset, shape, strides),
        (PickleFunction.RebuildTensorOfType,
            [PickleStorage storage, long offset, object?[] shape, object?[] strides, _, _, ElementType type, ..]) =>
            Rebuild(storage, type, offset, shape, strides),
        (PickleFunction.RebuildParameter or PickleFunction.RebuildParameterWithState, [PickleTensor tensor, ..]) => tensor,
        _ => null,
    };

    private static PickleTensor? Rebuild(PickleStorage storage, ElementType type, long offset, object?[] shape, object?[] strides) =>
        shape.Length <= MaxRank && shape.Length == strides.Length && shape.All(size => size is long) && strides.All(step => step is long)
            ? new PickleTensor(storage, type, offset, [.. shape.Cast<long>()], [.. strides.Cast<long>()])
            : null;
}

// Values of a pickle besides null, bool, long, double, string, List<object?> and object?[] (a tuple).

/// <summary>A dictionary in file order; keys may repeat.</summary>
internal sealed class PickleDictionary
{
    internal List<(object? Key, object? Value)> Items { get; } = [];
}

/// <summary>A value that is skipped: bytes, a set, or an integer beyond 64 bits.</summary>
internal sealed class PickleIgnored
{
    internal static readonly PickleIgnored Instance = new();
}

/// <summary>A Python function that a pickle may call.</summary>
internal enum PickleFunction
{
    OrderedDict,

    /// <summary>An object with only attributes, which are skipped.</summary>
    Attributes,
    Size,
    RebuildTensor,
    RebuildTensorOfType,
    RebuildParameter,
    RebuildParameterWithState,
}

/// <summary>A class of storages; a null type means untyped bytes.</summary>
internal sealed record PickleStorageClass(ElementType? Type);

/// <summary>A storage, identified by its entry in the archive.</summary>
internal sealed record PickleStorage(ElementType? Type, string Entry, long Count);

/// <summary>A tensor over a storage; <paramref name="Offset"/> and strides are in elements.</summary>
internal sealed record PickleTensor(PickleStorage Storage, ElementType Type, long Offset, long[] Shape, long[] Strides);
