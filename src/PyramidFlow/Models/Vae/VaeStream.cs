using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>
/// One video going through encoder or decoder piece by piece; the pieces together are what the whole would give. Each
/// stream has its own memory of the frames before, so one network can serve many. Gradients are recorded within a piece
/// only, and only if it is for training.
/// </summary>
public sealed class VaeStream : IDisposable
{
    private readonly Func<Tensor, CausalPass, Tensor> network;
    private readonly Func<long, long, Tiling?> cut;
    private readonly Action<Tensor, bool> check;
    private readonly bool isTraining;
    private readonly List<CausalCache> caches = [];
    private long[]? shape;
    private bool ended;

    internal VaeStream(Func<Tensor, CausalPass, Tensor> network, Func<long, long, Tiling?> cut, Action<Tensor, bool> check, bool isTraining)
    {
        this.network = network;
        this.cut = cut;
        this.check = check;
        this.isTraining = isTraining;
    }

    /// <summary>The next piece.</summary>
    /// <param name="frames">Frames, [b, c, t, h, w]; all sizes but t stay the same.</param>
    /// <param name="isEnd">Whether the video ends with them; less memory, for nothing of them needs to be remembered.</param>
    /// <returns>What became of them, [b, c', t', h', w'].</returns>
    /// <exception cref="ArgumentException">The piece has another size, or a number of frames that leaves a latent frame unfinished.</exception>
    /// <exception cref="InvalidOperationException">The video has ended.</exception>
    public Tensor Push(Tensor frames, bool isEnd = false)
    {
        if (isTraining)
            return Next(frames, isEnd);
        using var noGrad = NoGrad.Begin();
        return Next(frames, isEnd);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var cache in caches)
            cache.Dispose();
        caches.Clear();
    }

    private Tensor Next(Tensor frames, bool isEnd)
    {
        if (ended)
            throw new InvalidOperationException("this video has ended: open another stream for more frames");
        var isStart = shape is null;
        check(frames, isStart);
        CheckSize(frames.Shape);
        foreach (var cache in caches)
            cache.Advance();
        ended = isEnd;
        return cut(frames.Size(3), frames.Size(4)) is { } tiling
            ? tiling.Run(frames, (tile, i) => Run(tile, i, isStart, isEnd))
            : Run(frames, 0, isStart, isEnd);
    }

    private Tensor Run(Tensor frames, int tile, bool isStart, bool isEnd)
    {
        while (caches.Count <= tile)
            caches.Add(new CausalCache(isRepeatable: isTraining));
        return network(frames, new CausalPass(isStart, caches[tile]) { IsEnd = isEnd });
    }

    private void CheckSize(long[] next)
    {
        shape ??= next;
        if (next[0] != shape[0] || next[3] != shape[3] || next[4] != shape[4])
            throw new ArgumentException($"this video is {shape[0]} x {shape[4]}x{shape[3]}, the next piece {next[0]} x {next[4]}x{next[3]}: open another stream for it");
    }
}
