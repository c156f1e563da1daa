using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>
/// The last frames every causal convolution has seen, so that a video can be encoded or decoded piece by piece with the
/// result of doing it whole. It belongs to one video and is handed through the layers; the layers keep nothing. No
/// gradient flows through it into the piece before.
/// </summary>
/// <param name="isRepeatable">
/// Whether a piece can be computed again, as gradient checkpointing does, until <see cref="Advance"/> goes on to the next:
/// twice the memory.
/// </param>
public sealed class CausalCache(bool isRepeatable = false) : IDisposable
{
    private readonly Dictionary<Module, Tensor>? next = isRepeatable ? Empty() : null;
    private readonly Dictionary<Module, Tensor> frames = Empty();

    /// <summary>The frames a layer left, [b, c, n, h, w] without spatial padding, or null.</summary>
    /// <param name="layer">The layer.</param>
    public Tensor? Find(Module layer) => frames.GetValueOrDefault(layer);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in frames.Values.Concat(next?.Values ?? Enumerable.Empty<Tensor>()))
            tensor.Dispose();
        frames.Clear();
        next?.Clear();
    }

    /// <summary>Ends a piece of a repeatable cache: what the layers left is from now on what they find.</summary>
    internal void Advance()
    {
        foreach (var (layer, tensor) in next ?? [])
            Put(frames, layer, tensor);
        next?.Clear();
    }

    /// <summary>Copies the frames a layer needs next time; those before go.</summary>
    internal void Keep(Module layer, Tensor tensor)
    {
        using var scope = new TensorScope();
        Put(next ?? frames, layer, TensorScope.Release(tensor.Detach().Clone()));
    }

    /// <summary>Frees what a layer left, unless it may be asked for again; nothing comes after the present piece.</summary>
    internal void Forget(Module layer)
    {
        if (next is null && frames.Remove(layer, out var last))
            last.Dispose();
    }

    private static Dictionary<Module, Tensor> Empty() => new(ReferenceEqualityComparer.Instance);

    private static void Put(Dictionary<Module, Tensor> target, Module layer, Tensor tensor)
    {
        if (target.Remove(layer, out var before))
            before.Dispose();
        target.Add(layer, tensor);
    }
}
