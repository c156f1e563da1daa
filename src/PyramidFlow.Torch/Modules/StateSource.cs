namespace PyramidFlow.Torch;

/// <summary>A state dict: named tensors that a <see cref="Module"/> takes its weights from.</summary>
public abstract class StateSource : IDisposable
{
    // Elements checked at a time, so that a large tensor takes little memory.
    private const long CheckedElements = 1 << 22;

    /// <summary>Name for error messages: a path.</summary>
    public abstract string Name { get; }

    /// <summary>All keys.</summary>
    public abstract IReadOnlyCollection<string> Keys { get; }

    /// <summary>Shape and element type of a tensor; does not read its data.</summary>
    public abstract (long[] Shape, ElementType Type) Describe(string key);

    /// <summary>Path of the file that holds a tensor.</summary>
    public virtual string FileOf(string key) => Name;

    /// <summary>Keys, shapes and element types of all tensors.</summary>
    public IReadOnlyList<TensorDeclaration> Declarations() => [.. Keys.Select(key =>
    {
        var (shape, type) = Describe(key);
        return new TensorDeclaration(key, type, shape);
    })];

    /// <summary>Reads a tensor to the CPU, without a copy where it can lie over the memory of the file.</summary>
    public abstract Tensor Read(string key);

    /// <summary>Starts to load a tensor from disk that will be read soon; returns at once.</summary>
    public virtual void Prefetch(string key)
    {
    }

    /// <summary>Frees the memory of a tensor that is not needed for now; the next access loads it again.</summary>
    public virtual void Drop(string key)
    {
    }

    /// <summary>A view of the tensors whose keys begin with a prefix, without that prefix.</summary>
    public StateSource WithPrefix(string prefix) => new PrefixedSource(this, prefix);

    /// <summary>
    /// A view of the tensors of one model: at the top level, or under a prefix such as <c>dit.</c>, <c>vae.</c> or
    /// <c>model.vae.</c> as in training checkpoints. Where several prefixes match, the averaged weights (<c>ema</c> in the
    /// prefix) take precedence.
    /// </summary>
    /// <param name="keys">Keys of the model.</param>
    /// <returns>This source where one of the keys is at the top level, or where no prefix, or more than one, has them all.</returns>
    public StateSource ForModel(IReadOnlyCollection<string> keys)
    {
        var available = Keys.ToHashSet();
        if (keys.Count == 0 || keys.Any(available.Contains))
            return this;
        var tail = "." + keys.First();
        var prefixes = available.Where(key => key.EndsWith(tail, StringComparison.Ordinal)).Select(key => key[..^(tail.Length - 1)])
            .Where(prefix => keys.All(key => available.Contains(prefix + key)))
            .ToList();
        var averaged = prefixes.Where(prefix => prefix.Split('.', '_').Contains("ema")).ToList();
        return averaged.Count == 1 ? WithPrefix(averaged[0]) : prefixes.Count == 1 ? WithPrefix(prefixes[0]) : this;
    }

    /// <summary>Finds the first tensor with an element that is infinite or NaN. Reads the whole checkpoint, one tensor at a time.</summary>
    /// <param name="cancellationToken">Checked before each tensor.</param>
    /// <returns>File and key; null where every element is finite.</returns>
    public (string File, string Key)? FindNonFinite(CancellationToken cancellationToken = default)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var key in Keys)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (!Describe(key).Type.IsFloatingPoint())
                continue;
            using var scope = new TensorScope();
            var flat = Read(key).Reshape(-1);
            for (long start = 0; start < flat.ElementCount; start += CheckedElements)
            {
                using var inner = new TensorScope();
                if (!flat.Narrow(0, start, Math.Min(CheckedElements, flat.ElementCount - start)).AllFinite())
                    return (FileOf(key), key);
            }

            Drop(key);
        }

        return null;
    }

    /// <inheritdoc/>
    public virtual void Dispose() => GC.SuppressFinalize(this);

    private sealed class PrefixedSource(StateSource inner, string prefix) : StateSource
    {
        public override string Name => inner.Name;

        public override IReadOnlyCollection<string> Keys { get; } =
            [.. inner.Keys.Where(k => k.StartsWith(prefix, StringComparison.Ordinal)).Select(k => k[prefix.Length..])];

        public override (long[] Shape, ElementType Type) Describe(string key) => inner.Describe(prefix + key);

        public override string FileOf(string key) => inner.FileOf(prefix + key);

        public override Tensor Read(string key) => inner.Read(prefix + key);

        public override void Prefetch(string key) => inner.Prefetch(prefix + key);

        public override void Drop(string key) => inner.Drop(prefix + key);
    }
}

/// <summary>Key, element type and shape of a tensor in a file.</summary>
/// <param name="Key">Key in the file.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Sizes, outermost first; empty for a scalar.</param>
public sealed record TensorDeclaration(string Key, ElementType Type, long[] Shape)
{
    /// <summary>Number of elements.</summary>
    public long ElementCount => Shapes.ElementCount(Shape);

    /// <summary>Size in bytes.</summary>
    public long ByteLength => Shapes.ByteLength(Shape, Type);
}
