namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Named tensors a module can take its weights from.</summary>
public abstract class StateSource : IDisposable
{
    /// <summary>What to call it in an error: a path.</summary>
    public abstract string Name { get; }

    /// <summary>All keys.</summary>
    public abstract IReadOnlyCollection<string> Keys { get; }

    /// <summary>Shape and element type, without reading the data.</summary>
    public abstract (long[] Shape, ElementType Type) Describe(string key);

    /// <summary>The file that holds a tensor.</summary>
    public virtual string FileOf(string key) => Name;

    /// <summary>Keys, shapes and element types of all tensors.</summary>
    public IReadOnlyList<TensorDeclaration> Declarations() => [.. Keys.Select(key =>
    {
        var (shape, type) = Describe(key);
        return new TensorDeclaration(key, type, shape);
    })];

    /// <summary>The tensor, on the CPU; over the file's own memory where that is possible.</summary>
    public abstract Tensor Read(string key);

    /// <summary>Says that a tensor will be read soon; returns at once.</summary>
    public virtual void Prefetch(string key)
    {
    }

    /// <summary>Says that a tensor is not needed for now: its memory may go until it is touched again.</summary>
    public virtual void Drop(string key)
    {
    }

    /// <summary>The tensors whose keys begin with a prefix, under the rest of their keys.</summary>
    public StateSource Under(string prefix) => new PrefixedSource(this, prefix);

    /// <summary>
    /// The tensors of one model wherever they lie: at the top, or, as in training checkpoints, under a prefix such as
    /// <c>dit.</c>, <c>vae.</c> or <c>model.vae.</c>; among several the averaged weights (<c>ema</c> in the prefix).
    /// </summary>
    /// <param name="keys">The model's keys.</param>
    /// <returns>This source where one of the keys is at the top, or where no prefix, or more than one, has them all.</returns>
    public StateSource Holding(IReadOnlyCollection<string> keys)
    {
        var available = Keys.ToHashSet();
        if (keys.Count == 0 || keys.Any(available.Contains))
            return this;
        var tail = "." + keys.First();
        var prefixes = available.Where(key => key.EndsWith(tail, StringComparison.Ordinal)).Select(key => key[..^(tail.Length - 1)])
            .Where(prefix => keys.All(key => available.Contains(prefix + key)))
            .ToList();
        var averaged = prefixes.Where(prefix => prefix.Split('.', '_').Contains("ema")).ToList();
        return averaged.Count == 1 ? Under(averaged[0]) : prefixes.Count == 1 ? Under(prefixes[0]) : this;
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

/// <summary>A tensor of a file, everything but its numbers.</summary>
/// <param name="Key">Key in the file.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Sizes, outermost first; empty for a scalar.</param>
public sealed record TensorDeclaration(string Key, ElementType Type, long[] Shape)
{
    /// <summary>Number of its elements.</summary>
    public long ElementCount => Shapes.ElementCount(Shape);

    /// <summary>Bytes of its elements.</summary>
    public long ByteLength => Shapes.ByteLength(Shape, Type);
}

/// <summary>A checkpoint file is missing, damaged, hostile or of another model; the message names file and fault.</summary>
public sealed class CheckpointException : IOException
{
    private const int MaxLength = 4000;

    /// <summary>Creates the error.</summary>
    /// <param name="message">One sentence for the user, with the file's name and the fix. What the file says in it stays one line: control characters become question marks.</param>
    /// <param name="inner">What was underneath, if anything.</param>
    public CheckpointException(string message, Exception? inner = null)
        : base(OneLine(message), inner)
    {
    }

    private static string OneLine(string message) =>
        string.Concat(message.Take(MaxLength).Select(c => char.IsControl(c) ? '?' : c)) + (message.Length > MaxLength ? "..." : "");
}
