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

    /// <summary>The tensor, on the CPU; over the file's own memory where that is possible.</summary>
    public abstract Tensor Read(string key);

    /// <summary>The tensors whose keys begin with a prefix, under the rest of their keys.</summary>
    public StateSource Under(string prefix) => new PrefixedSource(this, prefix);

    /// <inheritdoc/>
    public virtual void Dispose() => GC.SuppressFinalize(this);

    private sealed class PrefixedSource(StateSource inner, string prefix) : StateSource
    {
        public override string Name => inner.Name;

        public override IReadOnlyCollection<string> Keys { get; } =
            [.. inner.Keys.Where(k => k.StartsWith(prefix, StringComparison.Ordinal)).Select(k => k[prefix.Length..])];

        public override (long[] Shape, ElementType Type) Describe(string key) => inner.Describe(prefix + key);

        public override Tensor Read(string key) => inner.Read(prefix + key);
    }
}
