using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Keeps the shades of given frames at the joint: a VAE gives them back a few levels off, which shows where its frames follow
/// those that came in. What it is off by in the last given frame, smoothed so that no outline of that frame is in it, is added to the
/// next frames, less and less.
/// </summary>
internal sealed class JointFade : IDisposable
{
    private const int Frames = 24, Smoothing = 16;

    private readonly Tensor shade;
    private int done;

    /// <summary>Compares a frame.</summary>
    /// <param name="given">As it came in, [1, 3, 1, h, w] in -1 to 1.</param>
    /// <param name="decoded">As the VAE gives it back, likewise.</param>
    internal JointFade(Tensor given, Tensor decoded)
    {
        using var scope = new TensorScope();
        var off = (given.To(ElementType.Float32) - decoded.To(ElementType.Float32).Clamp(-1, 1)).Squeeze(2);    // [1, 3, h, w]
        var smooth = off.AvgPool2d(Smoothing, Smoothing).InterpolateBilinear(off.Size(2), off.Size(3));
        shade = TensorScope.Release(smooth.Unsqueeze(2));                                             // [1, 3, 1, h, w]
    }

    /// <summary>The next frames with what is left of the difference.</summary>
    /// <param name="frames">[1, 3, t, h, w].</param>
    internal Tensor Apply(Tensor frames)
    {
        if (done >= Frames)
            return frames;
        using var scope = new TensorScope();
        var count = (int)frames.Size(2);
        var shares = Enumerable.Range(done + 1, count).Select(frame => Math.Max(0, 1 - (frame / (Frames + 1f)))).ToArray();
        done += count;
        return scope.Keep(frames + (shade * Tensor.From(shares, 1, 1, count, 1, 1).To(frames.Device)).To(frames.Type));
    }

    /// <inheritdoc/>
    public void Dispose() => shade.Dispose();
}
