using System.Runtime.InteropServices;

namespace PyramidFlow.Torch;

/// <content>Creation of tensors.</content>
public sealed unsafe partial class Tensor
{
    /// <summary>An uninitialised tensor.</summary>
    public static Tensor Empty(long[] shape, ElementType type = ElementType.Float32, Device? device = null) =>
        Operator.Find("aten::empty.memory_format").Call(shape, type, Arg.None, device ?? Device.Cpu);

    /// <summary>An uninitialised byte tensor in page-locked host memory, for asynchronous copies to a GPU.</summary>
    /// <exception cref="TorchException">The machine has no GPU.</exception>
    public static Tensor PageLocked(long[] shape) =>
        Operator.Find("aten::empty.memory_format").Call(shape, ElementType.UInt8, Arg.None, Device.Cpu, true);

    /// <summary>A tensor of zeros.</summary>
    public static Tensor Zeros(long[] shape, ElementType type = ElementType.Float32, Device? device = null) =>
        Operator.Find("aten::zeros").Call(shape, type, Arg.None, device ?? Device.Cpu);

    /// <summary>A tensor of ones.</summary>
    public static Tensor Ones(long[] shape, ElementType type = ElementType.Float32, Device? device = null) =>
        Operator.Find("aten::ones").Call(shape, type, Arg.None, device ?? Device.Cpu);

    /// <summary>A tensor of one value.</summary>
    public static Tensor Full(long[] shape, double value, ElementType type = ElementType.Float32, Device? device = null) =>
        Operator.Find("aten::full").Call(shape, value, type, Arg.None, device ?? Device.Cpu);

    /// <summary>The identity matrix.</summary>
    public static Tensor Eye(long size, ElementType type = ElementType.Float32) =>
        Operator.Find("aten::eye").Call(size, type, Arg.None, Device.Cpu);

    /// <summary>The numbers from <paramref name="start"/> up to, but not including, <paramref name="end"/>.</summary>
    public static Tensor Arange(double start, double end, double step = 1, ElementType type = ElementType.Float32,
        Device? device = null) =>
        Operator.Find("aten::arange.start_step").Call(start, end, step, type, Arg.None, device ?? Device.Cpu);

    /// <summary>Standard normal samples, drawn on the CPU.</summary>
    public static Tensor Randn(long[] shape, RandomGenerator generator, ElementType type = ElementType.Float32) =>
        Operator.Find("aten::randn.generator").Call(shape, generator, type, Arg.None, Device.Cpu);

    /// <summary>Uniform samples from [0, 1), drawn on the CPU.</summary>
    public static Tensor Rand(long[] shape, RandomGenerator generator, ElementType type = ElementType.Float32) =>
        Operator.Find("aten::rand.generator").Call(shape, generator, type, Arg.None, Device.Cpu);

    /// <summary>Uniform integers from [low, high), int64, drawn on the CPU.</summary>
    public static Tensor RandInt(long low, long high, long[] shape, RandomGenerator generator) =>
        Operator.Find("aten::randint.low_generator").Call(low, high, shape, generator, ElementType.Int64, Arg.None, Device.Cpu);

    /// <summary>A CPU tensor with a copy of an array; without a shape it has one dimension.</summary>
    public static Tensor From<T>(ReadOnlySpan<T> data, params long[] shape)
        where T : unmanaged
    {
        var tensor = Empty(shape.Length == 0 ? [data.Length] : shape, TypeOf<T>());
        data.CopyTo(tensor.Data<T>());
        return tensor;
    }

    /// <summary>A CPU tensor with a copy of an array; without a shape it has one dimension.</summary>
    public static Tensor From<T>(T[] data, params long[] shape)
        where T : unmanaged => From((ReadOnlySpan<T>)data, shape);

    /// <summary>A scalar tensor.</summary>
    public static Tensor Scalar(double value, ElementType type = ElementType.Float32) => Full([], value, type);

    /// <summary>
    /// A CPU tensor over existing memory, without a copy. <paramref name="owner"/> is kept alive until libtorch releases the last
    /// reference, and disposed then if it is disposable.
    /// </summary>
    /// <param name="address">Address of the first element.</param>
    /// <param name="shape">Sizes; the memory must hold all elements, row-major.</param>
    /// <param name="type">Element type.</param>
    /// <param name="owner">What keeps the memory valid.</param>
    public static Tensor FromMemory(nint address, long[] shape, ElementType type, object owner)
    {
        TorchRuntime.EnsureStarted();
        var keep = GCHandle.ToIntPtr(GCHandle.Alloc(owner));
        nint handle;
        fixed (long* sizes = shape)
            handle = Native.pf_tensor_from_memory((void*)address, sizes, shape.Length, (int)type, &ReleaseOwner, keep);
        return handle != 0 ? Own(handle) : throw Native.Error("tensor over memory");
    }

    /// <summary>Concatenates tensors along an existing dimension.</summary>
    public static Tensor Cat(Tensor[] tensors, int dim) => Operator.Find("aten::cat").Call(tensors, dim);

    /// <summary>Stacks tensors along a new dimension.</summary>
    public static Tensor Stack(Tensor[] tensors, int dim = 0) => Operator.Find("aten::stack").Call(tensors, dim);

    /// <summary>Elements of <paramref name="a"/> where the condition holds, else of <paramref name="b"/>.</summary>
    public static Tensor Where(Tensor condition, Tensor a, Tensor b) => Operator.Find("aten::where.self").Call(condition, a, b);

    internal static ElementType TypeOf<T>() =>
        typeof(T) == typeof(float) ? ElementType.Float32
        : typeof(T) == typeof(double) ? ElementType.Float64
        : typeof(T) == typeof(long) ? ElementType.Int64
        : typeof(T) == typeof(int) ? ElementType.Int32
        : typeof(T) == typeof(short) ? ElementType.Int16
        : typeof(T) == typeof(byte) ? ElementType.UInt8
        : typeof(T) == typeof(sbyte) ? ElementType.Int8
        : typeof(T) == typeof(bool) ? ElementType.Bool
        : typeof(T) == typeof(Half) ? ElementType.Float16
        : throw new ArgumentException($"no tensor holds {typeof(T).Name} elements");

    [UnmanagedCallersOnly]
    private static void ReleaseOwner(nint owner)
    {
        var held = GCHandle.FromIntPtr(owner);
        (held.Target as IDisposable)?.Dispose();
        held.Free();
    }
}

/// <summary>
/// A CPU random generator with its own state. Samples are drawn on the CPU and then moved, so that a seed gives the same
/// samples on every device.
/// </summary>
public sealed class RandomGenerator : IDisposable
{
    private nint handle;

    /// <summary>Creates a generator.</summary>
    public RandomGenerator(ulong seed)
    {
        TorchRuntime.EnsureStarted();
        handle = Native.pf_generator_new(seed);
        if (handle == 0)
            throw Native.Error("generator");
        Seed = seed;
    }

    /// <summary>Initial seed.</summary>
    public ulong Seed { get; }

    internal nint Handle => handle != 0 ? handle : throw new ObjectDisposedException(nameof(RandomGenerator));

    /// <summary>The full state as a byte tensor, for checkpoints.</summary>
    public Tensor GetState()
    {
        var state = Native.pf_generator_state(Handle);
        return state != 0 ? Tensor.Own(state) : throw Native.Error("generator state");
    }

    /// <summary>Restores a state from <see cref="GetState"/>.</summary>
    public void SetState(Tensor state)
    {
        if (Native.pf_generator_set_state(Handle, state.Handle) < 0)
            throw Native.Error("generator state");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (handle != 0)
            Native.pf_generator_free(handle);
        handle = 0;
    }
}
