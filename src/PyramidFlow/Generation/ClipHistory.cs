using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Clean latents that condition the next unit: all so far, or as many frames as the window holds. A history that is cut begins
/// like a clip: its first latent frame is that of a picture, made from the frame before the others, with the statistics of pictures.
/// So the transformer sees nothing that it was not trained on, at positions it was trained on.
/// </summary>
/// <param name="window">Most latent frames; null keeps all.</param>
internal sealed class ClipHistory(int? window) : IDisposable
{
    private long dropped;

    /// <summary>The latents, [b, c, t, h, w]; null before the first unit.</summary>
    internal Tensor? Latents { get; private set; }

    /// <summary>The latent frame of the clip whose picture must begin the history (<see cref="BeginWith"/>); null while all frames fit the window.</summary>
    internal long? Cut => Latents is { } all && all.Size(2) > window ? dropped + all.Size(2) - window : null;

    /// <summary>Drops the frames before <see cref="Cut"/> and puts a picture in its place.</summary>
    /// <param name="picture">Normalised latents of the last decoded frame of that latent frame, as a picture: [b, c, 1, h, w].</param>
    internal void BeginWith(Tensor picture)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var (latents, most) = (Latents!, window!.Value);
        var surplus = latents.Size(2) - most;
        Replace(Tensor.Cat([picture.To(latents.Type).To(latents.Device), latents.Narrow(2, surplus + 1, most - 1)], 2));
        dropped += surplus;
    }

    /// <summary>Appends a unit; the tensor stays the caller's.</summary>
    internal void Add(Tensor unit)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        Replace(Latents is null ? unit.Clone() : Tensor.Cat([Latents, unit], 2));
    }

    /// <inheritdoc/>
    public void Dispose() => Latents?.Dispose();

    private void Replace(Tensor next)
    {
        Latents?.Dispose();
        Latents = TensorScope.Release(next);
    }
}
