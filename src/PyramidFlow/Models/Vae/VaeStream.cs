using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// Encodes or decodes one video piece by piece; the results together equal the result of the whole video in one call. Each stream
/// has its own cache of previous frames, so one network can serve many streams. Gradients are recorded within a piece only, and
/// only in a stream for training.
/// </summary>
public sealed class VaeStream : IDisposable
{
    private readonly Func<Tensor, CausalPass, Tensor> network;
    private readonly Func<long, long, Tiling?> tilingFor;
    private readonly Action<Tensor, bool> check;
    private readonly bool isTraining;
    private readonly List<CausalCache> caches = [];
    private long[]? shape;
    private bool ended;

    internal VaeStream(Func<Tensor, CausalPass, Tensor> network, Func<long, long, Tiling?> tilingFor, Action<Tensor, bool> check, bool isTraining)
    {
        this.network = network;
        this.tilingFor = tilingFor;
        this.check = check;
        this.isTraining = isTraining;
    }

    /// <summary>Processes the next piece.</summary>
    /// <param name="frames">Frames, [b, c, t, h, w]; all sizes but t stay the same.</param>
    /// <param name="isEnd">Whether the video ends with these frames. Saves memory, because the cache keeps nothing of them.</param>
    /// <returns>Their moments or pixels, [b, c', t', h', w'].</returns>
    /// <exception cref="ArgumentException">The piece has another height, width or batch than those before, or a number of frames that does not fill a latent frame.</exception>
    /// <exception cref="InvalidOperationException">The video has ended.</exception>
    public Tensor Push(Tensor frames, bool isEnd = false) => Take(frames, isEnd)!;

    /// <summary>Processes that work together; null is this one alone.</summary>
    internal SharedDecoder? Shared { get; init; }

    /// <summary>Shape of the result of frames of a shape, which may be at the start of the video; for processes that work together.</summary>
    internal Func<long[], bool, long[]>? ResultShape { get; init; }

    /// <summary>Processes the next piece, like <see cref="Push"/>; null where another process gets the result.</summary>
    internal Tensor? Take(Tensor frames, bool isEnd)
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

    private Tensor? Next(Tensor frames, bool isEnd)
    {
        if (ended)
            throw new InvalidOperationException("this video has ended: open another stream for more frames");
        var isStart = shape is null;
        check(frames, isStart);
        CheckSize(frames.Shape);
        foreach (var cache in caches)
            cache.Advance();
        ended = isEnd;
        var tiling = tilingFor(frames.Size(3), frames.Size(4));
        if (Shared is null)
            return tiling?.Run(frames, (tile, i) => Run(tile, i, isStart, isEnd)) ?? Run(frames, 0, isStart, isEnd);
        if (tiling is not null)
            return Shared.InTiles(tiling, frames, tile => ResultShape!(tile.Shape, isStart), (tile, i) => Run(tile, i, isStart, isEnd));
        using var scope = new TensorScope();
        var bands = Shared.Bands(frames.Size(3));
        return Shared.Collect(Run(bands.Own(frames), 0, isStart, isEnd, bands), bands) is { } whole ? scope.Keep(whole) : null;
    }

    private Tensor Run(Tensor frames, int tile, bool isStart, bool isEnd, FrameBands? bands = null)
    {
        while (caches.Count <= tile)
            caches.Add(new CausalCache(isRepeatable: isTraining));
        return network(frames, new CausalPass(isStart, caches[tile]) { IsEnd = isEnd, Bands = bands });
    }

    private void CheckSize(long[] next)
    {
        shape ??= next;
        if (next[0] != shape[0] || next[3] != shape[3] || next[4] != shape[4])
            throw new ArgumentException($"this video is {shape[0]} x {shape[4]}x{shape[3]}, the next piece {next[0]} x {next[4]}x{next[3]}: open another stream for it");
    }
}
