using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Decodes one clip unit by unit, with the result of decoding it whole. Where memory runs out, a unit is decoded again with less at a
/// time: single latent frames first, then smaller and smaller tiles.
/// </summary>
/// <param name="vae">The VAE; it stays the caller's.</param>
/// <param name="normalization">Shift and scale of the transformer's latents.</param>
/// <param name="tiles">Decodes parts of the frames; null whole ones.</param>
/// <param name="wider">
/// Gives the VAE in a type of wider range, which stays its owner's: units whose pixels are not finite are decoded again with
/// it, and so are those after them. Null has nothing to decode again with.
/// </param>
/// <param name="warn">Takes a warning for the user when something is done again.</param>
/// <param name="shared">The processes that decode together, and go over to the wider VAE together; they decode nothing again where memory runs out. Null is this one alone.</param>
internal sealed class UnitDecoder(CausalVideoVae vae, LatentNormalization normalization, TileOptions? tiles = null,
    Func<CausalVideoVae>? wider = null, Action<string>? warn = null, SharedDecoder? shared = null) : IDisposable
{
    // Decoded latents. They are small, and the state of the decoder's layers can be computed from them again.
    private readonly List<Tensor> decoded = [];
    private CausalVideoVae vae = vae;
    private TileOptions? tiles = tiles;
    private VaeStream? stream;
    private bool started, widened, singly;

    /// <summary>Shift and scale of the transformer's latents.</summary>
    public LatentNormalization Normalization { get; } = normalization;

    /// <summary>Decodes the next unit.</summary>
    /// <param name="latents">Normalised latents [b, c, t, h, w].</param>
    /// <param name="isEnd">Whether the clip ends with it; this takes less memory, because nothing needs to be kept for further units.</param>
    /// <returns>Pixels, about -1 to 1: [b, 3, 8t, 8h, 8w], but for the first unit 1 + 8(t - 1) frames.</returns>
    /// <exception cref="NonFiniteException">The pixels are not finite, in no type that there is.</exception>
    /// <exception cref="InvalidOperationException">The clip has ended.</exception>
    /// <exception cref="TorchMemoryException">Memory is too small for the smallest tiles.</exception>
    public Tensor Decode(Tensor latents, bool isEnd = false) => Take(latents, isEnd)!;

    /// <summary>Decodes the next unit, like <see cref="Decode"/>; null where another process gets its pixels.</summary>
    internal Tensor? Take(Tensor latents, bool isEnd)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var z = Normalization.Denormalize(latents, isStart: !started);
        var frames = Persist(z, () => [Push(Stream(), z, isEnd)])[0];
        started = true;
        decoded.Add(TensorScope.Release(z));
        return frames is null ? null : scope.Keep(frames);
    }

    /// <summary>Decodes all units of the clip at once, tile by tile (<see cref="CausalVideoVae.DecodeTileByTile"/>).</summary>
    /// <param name="latents">Of each unit or part of one, as for <see cref="Decode"/>, in their order.</param>
    /// <param name="begin">Called before each tile with the number of tiles done and the number of all.</param>
    /// <param name="cancellationToken">Checked before each piece of a tile.</param>
    /// <returns>Pixels of each, on the CPU.</returns>
    /// <exception cref="NonFiniteException">The pixels are not finite, in no type that there is.</exception>
    /// <exception cref="InvalidOperationException">There are no tiles.</exception>
    /// <exception cref="TorchMemoryException">Memory is too small for the smallest tiles.</exception>
    public Tensor[] DecodeAll(IReadOnlyList<Tensor> latents, Action<int, int>? begin = null, CancellationToken cancellationToken = default)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        Tensor[] pieces = [.. latents.Select((part, i) => Normalization.Denormalize(part, isStart: i == 0))];
        singly = true;
        var frames = Persist(pieces[0], () =>
            vae.DecodeTileByTile([.. pieces.Select(Typed)], tiles ?? throw new InvalidOperationException("there are no tiles to decode one by one"), begin, cancellationToken));
        return [.. frames.Select(part => scope.Keep(part!))];
    }

    /// <summary>Decodes a whole clip, piece by piece or tile by tile.</summary>
    /// <param name="clip">Normalised latents [b, c, t, h, w].</param>
    /// <param name="window">Latent frames at a time.</param>
    /// <param name="tileByTile">Whether each tile goes through the whole clip before the next one.</param>
    /// <returns>Pixels of each piece.</returns>
    internal IEnumerable<Tensor> DecodeClip(Tensor clip, int window, bool tileByTile)
    {
        var total = clip.Size(2);
        var pieces = Pieces(total, window, isStart: true);
        return tileByTile
            ? DecodeAll([.. pieces.Select(piece => clip.Narrow(2, piece.Start, piece.Count))])
            : pieces.Select(piece => Decode(clip.Narrow(2, piece.Start, piece.Count), isEnd: piece.Start + piece.Count == total));
    }

    /// <summary>Latent frames that go at a time.</summary>
    /// <param name="total">Latent frames of a unit.</param>
    /// <param name="window">How many at most.</param>
    /// <param name="isStart">Whether the clip begins with them: then the first time has one more.</param>
    internal static IEnumerable<(long Start, long Count)> Pieces(long total, int window, bool isStart)
    {
        for (long start = 0, count = Math.Min(total, window + (isStart ? 1 : 0)); count > 0; start += count, count = Math.Min(total - start, window))
            yield return (start, count);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Forget();
        decoded.ForEach(latents => latents.Dispose());
        decoded.Clear();
    }

    // Repeats until the result fits memory and is finite. A failure may leave the layers' state damaged, so it is computed anew.
    private Tensor?[] Persist(Tensor z, Func<Tensor?[]> decode)
    {
        while (true)
        {
            try
            {
                using var scope = new TensorScope();
                var frames = decode();
                var areFinite = frames.All(part => part?.AllFinite() ?? true);
                if (shared?.FirstSays(areFinite) ?? areFinite)
                    return [.. frames.Select(part => part is null ? null : scope.Keep(part))];
                Forget();
                Widen();
            }
            catch (TorchMemoryException e) when (shared is null)
            {
                Forget();
                Shrink(z, e);
            }
        }
    }

    private void Forget()
    {
        stream?.Dispose();
        stream = null;
    }

    // The stream after everything decoded so far.
    private VaeStream Stream()
    {
        if (stream is not null)
            return stream;
        stream = vae.SharedDecodeStream(tiles, isTraining: false, shared);
        foreach (var before in decoded)
        {
            using var scope = new TensorScope();
            Push(stream, before, isEnd: false);
        }

        return stream;
    }

    private Tensor? Push(VaeStream to, Tensor z, bool isEnd)
    {
        if (!singly)
            return to.Take(Typed(z), isEnd);
        var count = (int)z.Size(2);
        return Tensor.Cat([.. Enumerable.Range(0, count).Select(i => to.Push(Typed(z.Narrow(2, i, 1)), isEnd && i == count - 1))], 2);
    }

    private Tensor Typed(Tensor z) => widened ? z.To(ElementType.Float32) : z;

    private void Widen()
    {
        if (widened || wider is null)
            throw new NonFiniteException(ModelPart.Vae, "when frames were decoded");
        (widened, vae) = (true, wider());
        warn?.Invoke("numbers of the VAE went beyond float16: that part was decoded again in float32, and so is the rest of the clip");
    }

    private void Shrink(Tensor z, TorchMemoryException cause)
    {
        var side = Math.Max(z.Size(3), z.Size(4)) * vae.Config.SpatialScale;
        if (!singly)
            singly = true;
        else if (TileOptions.Smaller(tiles, side) is { } smaller)
            tiles = smaller;
        else
            throw new TorchMemoryException($"{cause.Message} to decode, with tiles as small as can be: give a memory budget, another way to offload, or make smaller frames", cause);
        TorchRuntime.TrimMemory();
        warn?.Invoke(tiles is null
            ? "memory ran out: that part was decoded again with one latent frame at a time, and so is the rest of the clip"
            : $"memory ran out: that part was decoded again in tiles of {tiles.Size} pixels, and so is the rest of the clip");
    }
}
