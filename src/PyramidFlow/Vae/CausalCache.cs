using PyramidFlow.Torch;

namespace PyramidFlow.Vae;

/// <summary>
/// The last frames every causal convolution has seen, so that a video can be encoded or decoded piece by piece with the
/// result of doing it whole. It belongs to one video and is handed through the layers; the layers keep nothing.
/// </summary>
public sealed class CausalCache : IDisposable
{
    private readonly Dictionary<Module, Tensor> frames = new(ReferenceEqualityComparer.Instance);

    /// <summary>True until the first layer has left its frames.</summary>
    public bool IsEmpty => frames.Count == 0;

    /// <summary>The frames a layer left, [b, c, n, h, w] without spatial padding, or null.</summary>
    /// <param name="layer">The layer.</param>
    public Tensor? Find(Module layer) => frames.GetValueOrDefault(layer);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in frames.Values)
            tensor.Dispose();
        frames.Clear();
    }

    /// <summary>Copies the frames a layer needs next time; those before go.</summary>
    internal void Keep(Module layer, Tensor tensor)
    {
        using var scope = new TensorScope();
        var copy = TensorScope.Detach(tensor.Detached().Clone());
        if (frames.Remove(layer, out var before))
            before.Dispose();
        frames.Add(layer, copy);
    }
}
