namespace PyramidFlow.Training.Vae;

/// <summary>
/// Windows of a clip that are computed one after another, as the released system spreads them over devices
/// (<c>video_vae/context_parallel_ops.py</c>): the first holds one frame more, the one a video begins with.
/// </summary>
public static class TimeWindows
{
    /// <summary>First frame and length of each window.</summary>
    /// <param name="frames">Frames of the clip, 1 + scale * n.</param>
    /// <param name="windows">How many, at least 1.</param>
    /// <param name="scale">Frames of a latent frame.</param>
    /// <exception cref="ArgumentException">The clip does not divide into so many windows of whole latent frames.</exception>
    public static IReadOnlyList<(long Start, long Length)> Of(long frames, int windows, int scale)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(windows, 1);
        var (length, rest) = Math.DivRem(frames - 1, windows);
        if (rest != 0 || length % scale != 0 || length == 0)
        {
            var unit = windows * scale;
            var fit = 1 + (Math.Max(1, (frames - 1) / unit) * unit);
            throw new ArgumentException($"a clip of {frames} frames does not divide into {windows} windows of whole latent frames: use {fit} or {fit + unit} frames");
        }

        return [.. Enumerable.Range(0, windows).Select(i => i == 0 ? (0L, length + 1) : ((i * length) + 1, length))];
    }
}
