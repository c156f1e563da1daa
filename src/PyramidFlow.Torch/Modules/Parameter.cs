using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Torch;

/// <summary>
/// A weight of a module: its shape is known at once, its memory only after the module was loaded or initialised, so a
/// model of any size can be described without allocating it.
/// </summary>
public sealed class Parameter
{
    private readonly Initializer initializer;
    private readonly Lock gate = new();
    private volatile Tensor? value;
    private StoredWeight? stored;

    /// <summary>Declares a weight.</summary>
    /// <param name="shape">Sizes, outermost first.</param>
    /// <param name="initializer">How training starts it; see <see cref="Initializers"/>.</param>
    public Parameter(long[] shape, Initializer initializer)
    {
        Shape = shape;
        this.initializer = initializer;
    }

    /// <summary>Sizes, outermost first.</summary>
    public long[] Shape { get; }

    /// <summary>Number of elements, whether it has memory or not.</summary>
    public long ElementCount => Shapes.ElementCount(Shape);

    /// <summary>Whether training changes it; set false to freeze it or for fixed tables.</summary>
    public bool Trainable { get; set; } = true;

    /// <summary>True once it has memory.</summary>
    public bool HasValue => value is not null;

    /// <summary>Element type of the value, also of one that is not in memory now.</summary>
    public ElementType Type => stored?.Type ?? Value.Type;

    /// <summary>Where the value is, or will be when it is next needed.</summary>
    public Device Device => stored?.Device ?? Value.Device;

    /// <summary>
    /// The weight, taken from its checkpoint if it was let go. Setting it takes the tensor over, out of its scope, and frees the
    /// one before; from then on it stays in memory.
    /// </summary>
    /// <exception cref="InvalidOperationException">The module was neither loaded nor initialised.</exception>
    public Tensor Value
    {
        get => value ?? Fetch();
        set
        {
            var taken = TensorScope.Release(value);
            lock (gate)
            {
                if (!ReferenceEquals(this.value, taken))
                    Discard();
                this.value = taken;
                stored = null;
            }
        }
    }

    /// <summary>The weight itself, where an operator wants a tensor.</summary>
    public static implicit operator Tensor(Parameter parameter) => parameter.Value;

    /// <summary>Gives a tensor outside the parameter the values training starts it with.</summary>
    /// <param name="target">Of this shape, float32, on the CPU.</param>
    /// <param name="generator">Source of the draws.</param>
    public void Fill(Tensor target, RandomGenerator generator)
    {
        using var noGrad = NoGrad.Begin();
        initializer(target, generator);
    }

    /// <summary>Frees the memory; the declaration stays.</summary>
    public void Free()
    {
        lock (gate)
        {
            Discard();
            stored = null;
        }
    }

    /// <summary>Says where the value is to be had whenever it is needed; one in memory is freed.</summary>
    internal void Attach(StoredWeight weight)
    {
        lock (gate)
        {
            Discard();
            stored = weight;
        }
    }

    /// <summary>Begins to bring a value that was let go, so that it is there, or nearly, when it is needed.</summary>
    internal void Prefetch()
    {
        stored?.Prefetch();
        if (stored is { IsMapped: false })
            Fetch();
    }

    /// <summary>Lets the value go if it can be taken again.</summary>
    /// <returns>Whether one went.</returns>
    internal bool Release()
    {
        lock (gate)
        {
            if (stored is null)
                return false;
            var held = HasValue;
            Discard();
            stored.Drop();
            return held;
        }
    }

    // A GPU may be at work with it still, and memory of uploads is written to without regard to that work.
    private void Discard()
    {
        if (value is not { } old)
            return;
        value = null;
        try
        {
            TorchRuntime.Synchronize(old.Device);
        }
        finally
        {
            old.Dispose();
        }
    }

    private Tensor Fetch()
    {
        lock (gate)
        {
            return value ??= stored?.Fetch()
                ?? throw new InvalidOperationException("this module has no weights yet: load a checkpoint or call Initialize");
        }
    }
}

/// <summary>Fills a fresh weight in place.</summary>
/// <param name="weight">The weight, float32.</param>
/// <param name="generator">Source of the draws.</param>
public delegate void Initializer(Tensor weight, RandomGenerator generator);

/// <summary>The initialisers of PyTorch's layers.</summary>
public static class Initializers
{
    /// <summary>All zero.</summary>
    public static void Zeros(Tensor weight, RandomGenerator generator) => weight.Zero();

    /// <summary>All one.</summary>
    public static void Ones(Tensor weight, RandomGenerator generator) => weight.Fill(1);

    /// <summary>Normal with this standard deviation.</summary>
    public static Initializer Normal(double std) => (weight, generator) => weight.NormalInPlace(0, std, generator);

    /// <summary>Uniform within +-1/sqrt(fan in): the default of linear and convolution layers and of their biases.</summary>
    public static Initializer FanIn(long fanIn)
    {
        var bound = 1 / Math.Sqrt(Math.Max(1, fanIn));
        return (weight, generator) => weight.UniformInPlace(-bound, bound, generator);
    }

    /// <summary>Uniform within +-sqrt(6 / (fan in + fan out)).</summary>
    public static Initializer XavierUniform(long fanIn, long fanOut)
    {
        var bound = Math.Sqrt(6.0 / (fanIn + fanOut));
        return (weight, generator) => weight.UniformInPlace(-bound, bound, generator);
    }
}
