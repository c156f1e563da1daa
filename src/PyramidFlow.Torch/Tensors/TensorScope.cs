namespace PyramidFlow.Torch;

/// <summary>
/// Owns every tensor created on this thread while it is the innermost open scope. Disposing it frees the tensors that were not
/// kept, so native memory never waits for the garbage collector. Without an open scope the caller owns a tensor.
/// </summary>
/// <example><code>
/// using var scope = new TensorScope();
/// var y = (x * x).Sum();
/// return scope.Keep(y);
/// </code></example>
public sealed class TensorScope : IDisposable
{
    [ThreadStatic]
    private static TensorScope? innermost;

    private readonly TensorScope? outer;
    private readonly List<Tensor> owned = [];
    private readonly int thread = Environment.CurrentManagedThreadId;
    private bool closed;

    /// <summary>Opens a scope inside the current one.</summary>
    public TensorScope()
    {
        outer = innermost;
        innermost = this;
    }

    /// <summary>Moves a tensor to the next outer scope, or to the caller if there is none.</summary>
    /// <returns>The same tensor.</returns>
    public Tensor Keep(Tensor tensor)
    {
        if (tensor.Scope != this)
            return tensor;
        Remove(tensor);
        outer?.Adopt(tensor);
        return tensor;
    }

    /// <summary>Removes a tensor from its scope: the caller disposes it.</summary>
    /// <returns>The same tensor.</returns>
    public static Tensor Release(Tensor tensor)
    {
        tensor.Scope?.Remove(tensor);
        return tensor;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (closed)
            return;
        if (innermost != this)
            throw new InvalidOperationException("tensor scopes must be closed innermost first, on the thread that opened them");
        closed = true;
        innermost = outer;
        for (var i = owned.Count - 1; i >= 0; i--)
        {
            owned[i].Scope = null;
            owned[i].Dispose();
        }

        owned.Clear();
    }

    internal static void Register(Tensor tensor) => innermost?.Adopt(tensor);

    // The last tensor fills the gap, so that removal takes constant time.
    internal void Remove(Tensor tensor)
    {
        if (Environment.CurrentManagedThreadId != thread)
        {
            throw new InvalidOperationException(
                "this tensor belongs to a scope of another thread: take it out there with TensorScope.Release before handing it over");
        }

        var last = owned[^1];
        owned[tensor.ScopeIndex] = last;
        last.ScopeIndex = tensor.ScopeIndex;
        owned.RemoveAt(owned.Count - 1);
        tensor.Scope = null;
    }

    private void Adopt(Tensor tensor)
    {
        tensor.Scope = this;
        tensor.ScopeIndex = owned.Count;
        owned.Add(tensor);
    }
}
