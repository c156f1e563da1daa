namespace PyramidFlow.Torch;

/// <summary>
/// A libtorch tensor. The innermost open <see cref="TensorScope"/> of the creating thread owns it; without one the caller owns
/// and disposes it. Operators have the names and semantics of PyTorch.
/// </summary>
public sealed unsafe partial class Tensor : IDisposable
{
    private static long live;

    private nint handle;

    private Tensor(nint handle)
    {
        this.handle = handle;
        Interlocked.Increment(ref live);
    }

    /// <summary>Number of native tensors alive in this process; a loop without leaks leaves it unchanged.</summary>
    public static long LiveCount => Interlocked.Read(ref live);

    /// <summary>Number of dimensions.</summary>
    public int Dim => (int)Native.pf_tensor_dim(Handle);

    /// <summary>Sizes, outermost first.</summary>
    public long[] Shape
    {
        get
        {
            var shape = new long[Dim];
            fixed (long* sizes = shape)
                Native.pf_tensor_sizes(Handle, sizes);
            return shape;
        }
    }

    /// <summary>Strides of the dimensions, in elements.</summary>
    public long[] Strides
    {
        get
        {
            var strides = new long[Dim];
            fixed (long* steps = strides)
                Native.pf_tensor_strides(Handle, steps);
            return strides;
        }
    }

    /// <summary>Number of elements.</summary>
    public long ElementCount => Native.pf_tensor_numel(Handle);

    /// <summary>Element type.</summary>
    public ElementType Type => (ElementType)Native.pf_tensor_dtype(Handle);

    /// <summary>Device of the data.</summary>
    public Device Device
    {
        get
        {
            int type, index;
            Native.pf_tensor_device(Handle, &type, &index);
            return new Device((DeviceType)type, index);
        }
    }

    /// <summary>Whether the elements are stored row-major without gaps.</summary>
    public bool IsContiguous => Native.pf_tensor_is_contiguous(Handle) != 0;

    /// <summary>Whether it was disposed, directly or by its scope.</summary>
    public bool IsDisposed => handle == 0;

    internal nint Handle => handle != 0 ? handle
        : throw new ObjectDisposedException(nameof(Tensor), "this tensor was freed with its scope: hand it out with scope.Keep");

    internal TensorScope? Scope { get; set; }

    internal int ScopeIndex { get; set; }

    /// <summary>Size of one dimension; negative counts from the end.</summary>
    public long Size(int dim)
    {
        var rank = Dim;
        var sizes = stackalloc long[rank];
        Native.pf_tensor_sizes(Handle, sizes);
        var index = dim < 0 ? dim + rank : dim;
        return (uint)index < (uint)rank ? sizes[index]
            : throw new ArgumentOutOfRangeException(nameof(dim), dim, $"a tensor of {rank} dimensions has no dimension {dim}");
    }

    /// <summary>Frees the native tensor. Harmless when repeated.</summary>
    public void Dispose()
    {
        if (handle == 0)
            return;
        Scope?.Remove(this);
        Native.pf_tensor_free(handle);
        handle = 0;
        Interlocked.Decrement(ref live);
    }

    /// <summary>Copies the elements to an array, row-major.</summary>
    /// <typeparam name="T">The matching C# type: <c>float</c>, <c>double</c>, <c>long</c>, <c>int</c>, <c>byte</c>, <c>bool</c>, <c>Half</c>.</typeparam>
    /// <exception cref="InvalidOperationException">The tensor has another element type.</exception>
    public T[] ToArray<T>()
        where T : unmanaged
    {
        var result = new T[ElementCount];
        CopyTo(result.AsSpan());
        return result;
    }

    /// <summary>Copies the elements into a span of exactly <see cref="ElementCount"/>.</summary>
    public void CopyTo<T>(Span<T> target)
        where T : unmanaged
    {
        CheckElement<T>(Type);
        if (target.Length != ElementCount)
            throw new ArgumentException($"{ElementCount} elements do not fit a span of {target.Length}", nameof(target));
        using var scope = new TensorScope();
        var onCpu = Device.Type == DeviceType.Cpu ? this : To(Device.Cpu);
        (onCpu.IsContiguous ? onCpu : onCpu.Contiguous()).Data<T>().CopyTo(target);
    }

    /// <summary>The memory of a contiguous CPU tensor, without a copy; valid while the tensor lives.</summary>
    public Span<T> Data<T>()
        where T : unmanaged
    {
        CheckElement<T>(Type);
        if (!IsContiguous || Device.Type != DeviceType.Cpu)
            throw new InvalidOperationException("only a contiguous CPU tensor shows its memory: call Contiguous().To(Device.Cpu) first");
        return new Span<T>(Native.pf_tensor_data(Handle), checked((int)ElementCount));
    }

    /// <summary>The bytes of a contiguous CPU tensor of any element type, without a copy; valid while the tensor lives.</summary>
    public ReadOnlySpan<byte> RawBytes() => IsContiguous && Device.Type == DeviceType.Cpu
        ? new ReadOnlySpan<byte>(Native.pf_tensor_data(Handle), checked((int)(ElementCount * Type.Size())))
        : throw new InvalidOperationException("only a contiguous CPU tensor shows its memory: call Contiguous().To(Device.Cpu) first");

    /// <summary>The value of a tensor with one element.</summary>
    public double Item() => Operator.Find("aten::item").Number(this);

    /// <inheritdoc/>
    public override string ToString() => IsDisposed ? "Tensor (freed)" : $"Tensor [{string.Join(", ", Shape)}] {Type} on {Device}";

    /// <summary>Takes ownership of a handle and registers the tensor with the open scope.</summary>
    internal static Tensor Own(nint handle)
    {
        if (handle == 0)
            throw new TorchException("libtorch gave an undefined tensor");
        var tensor = new Tensor(handle);
        TensorScope.Register(tensor);
        return tensor;
    }

    /// <summary>Adds a reference to a tensor whose handle another object owns.</summary>
    // Conversion to its own type returns the same native tensor. A view would not do: autograd counts references to decide
    // whether it can keep a gradient instead of copying it.
    internal static Tensor Share(nint borrowed) =>
        Operator.Find("aten::to.dtype").Call(Arg.Borrowed(borrowed), (long)Native.pf_tensor_dtype(borrowed));

    /// <summary>Transfers the handle to the caller, who frees it; this object counts as disposed.</summary>
    internal nint Surrender()
    {
        var given = Handle;
        Scope?.Remove(this);
        handle = 0;
        Interlocked.Decrement(ref live);
        return given;
    }

    private static void CheckElement<T>(ElementType type)
    {
        var fits = type switch
        {
            ElementType.UInt8 => typeof(T) == typeof(byte),
            ElementType.Int8 => typeof(T) == typeof(sbyte),
            ElementType.Int16 => typeof(T) == typeof(short),
            ElementType.Int32 => typeof(T) == typeof(int),
            ElementType.Int64 => typeof(T) == typeof(long),
            ElementType.Float16 => typeof(T) == typeof(Half),
            ElementType.Float32 => typeof(T) == typeof(float),
            ElementType.Float64 => typeof(T) == typeof(double),
            ElementType.Bool => typeof(T) == typeof(bool),
            ElementType.BFloat16 => typeof(T) == typeof(ushort),
            _ => false,
        };
        if (!fits)
            throw new InvalidOperationException($"a tensor of {type} does not hold {typeof(T).Name} elements: convert it with To first");
    }
}

public sealed partial class Tensor
{
    private static Tensor Call(string op, params ReadOnlySpan<Arg> args) => Operator.Find(op).Call(args);

    private static Tensor[] CallMany(string op, params ReadOnlySpan<Arg> args) => Operator.Find(op).CallMany(args)!;

    private Tensor RunInPlace(string op, params ReadOnlySpan<Arg> args)
    {
        Operator.Find(op).Run(args);
        return this;
    }
}
