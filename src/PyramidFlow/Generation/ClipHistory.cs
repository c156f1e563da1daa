using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Clean latents that the next unit looks back at: all so far, or as many as the window holds. A history that is cut begins
/// like a clip: its first latent frame is a picture, of the last frame before the others, with the statistics of pictures.
/// So the transformer sees nothing that it was not trained on, at positions it was trained on.
/// </summary>
/// <param name="window">Most latent frames; null keeps all.</param>
/// <param name="restart">See <see cref="ClipSource.Restart"/>.</param>
internal sealed class ClipHistory(int? window, Func<long, Tensor>? restart) : IDisposable
{
    private Tensor? latents;
    private long dropped;

    /// <summary>The latents, [b, c, t, h, w]; null before the first unit.</summary>
    internal Tensor? Next()
    {
        if (latents is null || window is not { } most || latents.Size(2) <= most)
            return latents;
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var surplus = latents.Size(2) - most;
        var begin = restart ?? throw new InvalidOperationException("a history window needs pictures to begin with: give the clip's source a restart");
        var first = begin(dropped + surplus).To(latents.Type).To(latents.Device);                    // [b, c, 1, h, w]
        Replace(Tensor.Cat([first, latents.Narrow(2, surplus + 1, most - 1)], 2));
        dropped += surplus;
        return latents;
    }

    /// <summary>A unit has been made; the tensor stays the caller's.</summary>
    internal void Add(Tensor unit)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        Replace(latents is null ? unit.Clone() : Tensor.Cat([latents, unit], 2));
    }

    /// <inheritdoc/>
    public void Dispose() => latents?.Dispose();

    private void Replace(Tensor next)
    {
        latents?.Dispose();
        latents = TensorScope.Release(next);
    }
}
