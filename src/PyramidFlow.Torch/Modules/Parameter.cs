namespace PyramidFlow.Torch;

/// <summary>
/// A weight of a module. Its shape is fixed at construction, but memory is allocated only when the module is loaded or
/// initialised, so a model of any size can be described without memory.
/// </summary>
public sealed class Parameter
{
    private readonly Initializer initializer;
    private readonly Lock gate = new();
    private volatile Tensor? value;

    // Belongs to whoever has set it.
    private volatile Tensor? cover;
    private StoredWeight? stored;

    /// <summary>Declares a weight.</summary>
    /// <param name="shape">Sizes, outermost first.</param>
    /// <param name="initializer">Initial value for training; see <see cref="Initializers"/>.</param>
    public Parameter(long[] shape, Initializer initializer)
    {
        Shape = shape;
        this.initializer = initializer;
    }

    /// <summary>Sizes, outermost first.</summary>
    public long[] Shape { get; }

    /// <summary>Number of elements.</summary>
    public long ElementCount => Shapes.ElementCount(Shape);

    /// <summary>Whether training changes it; false freezes it, for example a fixed table.</summary>
    public bool Trainable { get; set; } = true;

    /// <summary>Whether the value is in memory.</summary>
    public bool HasValue => value is not null;

    /// <summary>Element type of the value, whether it is in memory or not.</summary>
    public ElementType Type => stored?.Type ?? Value.Type;

    /// <summary>Device of the value, whether it is in memory or not.</summary>
    public Device Device => stored?.Device ?? Value.Device;

    /// <summary>
    /// The weight; read from its checkpoint if it is not in memory. Setting it takes ownership of the tensor, removes it from its
    /// scope and frees the previous one; a weight that was set stays in memory.
    /// </summary>
    /// <exception cref="InvalidOperationException">The module is neither loaded nor initialised.</exception>
    public Tensor Value
    {
        get => cover ?? value ?? Fetch();
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

    /// <summary>Converts to <see cref="Value"/>.</summary>
    public static implicit operator Tensor(Parameter parameter) => parameter.Value;

    /// <summary>Fills a tensor outside the parameter with its initial value for training.</summary>
    /// <param name="target">A float32 tensor of this shape on the CPU.</param>
    /// <param name="generator">Random generator.</param>
    public void Fill(Tensor target, RandomGenerator generator)
    {
        using var noGrad = NoGrad.Begin();
        initializer(target, generator);
    }

    /// <summary>Frees the value and forgets its checkpoint; the shape stays.</summary>
    public void Free()
    {
        lock (gate)
        {
            Discard();
            (stored, cover) = (null, null);
        }
    }

    /// <summary>Puts a tensor in place of the value until <see cref="Uncover"/>; the value itself does not change, and may be freed and read again meanwhile.</summary>
    /// <param name="tensor">A tensor of the same shape, type and device; it stays the caller's.</param>
    internal void Cover(Tensor tensor) => cover = tensor;

    /// <summary>Uses the value itself again.</summary>
    internal void Uncover() => cover = null;

    /// <summary>Sets the stored weight that the value is read from when it is needed; frees the value in memory.</summary>
    internal void Attach(StoredWeight weight)
    {
        lock (gate)
        {
            Discard();
            stored = weight;
        }
    }

    /// <summary>Starts to load a value that was freed, so that its next use waits less.</summary>
    internal void Prefetch()
    {
        if (cover is not null)
            return;
        stored?.Prefetch();
        if (stored is { IsMapped: false })
            Fetch();
    }

    /// <summary>Frees the value if it can be read again.</summary>
    /// <returns>Whether a value was freed.</returns>
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

    // Queued GPU work may still use the value, and uploads overwrite their memory without regard to that work.
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

/// <summary>Fills a new weight in place.</summary>
/// <param name="weight">The weight, float32.</param>
/// <param name="generator">Random generator.</param>
public delegate void Initializer(Tensor weight, RandomGenerator generator);

/// <summary>The initialisers of the layers of PyTorch.</summary>
public static class Initializers
{
    /// <summary>All zero.</summary>
    public static void Zeros(Tensor weight, RandomGenerator generator) => weight.Zero();

    /// <summary>All one.</summary>
    public static void Ones(Tensor weight, RandomGenerator generator) => weight.Fill(1);

    /// <summary>Normal with mean 0 and this standard deviation.</summary>
    public static Initializer Normal(double std) => (weight, generator) => weight.NormalInPlace(0, std, generator);

    /// <summary>Uniform in +-1/sqrt(fan in): the default of linear and convolution layers and of their biases.</summary>
    public static Initializer FanIn(long fanIn)
    {
        var bound = 1 / Math.Sqrt(Math.Max(1, fanIn));
        return (weight, generator) => weight.UniformInPlace(-bound, bound, generator);
    }

    /// <summary>Uniform in +-sqrt(6 / (fan in + fan out)).</summary>
    public static Initializer XavierUniform(long fanIn, long fanOut)
    {
        var bound = Math.Sqrt(6.0 / (fanIn + fanOut));
        return (weight, generator) => weight.UniformInPlace(-bound, bound, generator);
    }
}
