using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Vae;

namespace PyramidFlow.Pipelines;

/// <summary>Decodes one clip unit by unit, with the result of decoding it whole.</summary>
/// <param name="vae">The VAE; it stays the caller's.</param>
/// <param name="normalization">How the transformer sees its latents.</param>
/// <param name="tiles">Decodes parts of the frames; null whole ones.</param>
/// <param name="wider">
/// Gives the VAE in a type of wider range, which stays its owner's: units whose pixels are not finite are decoded again with
/// it, and so are those after them. Null looks at no pixels.
/// </param>
/// <param name="warn">Takes a sentence for the user when that happens.</param>
public sealed class UnitDecoder(CausalVideoVae vae, LatentNormalization normalization, TileOptions? tiles = null,
    Func<CausalVideoVae>? wider = null, Action<string>? warn = null) : IDisposable
{
    private readonly List<Tensor> decoded = [];
    private VaeStream stream = vae.DecodeStream(tiles);
    private bool started, widened;

    /// <summary>How the transformer sees its latents.</summary>
    public LatentNormalization Normalization { get; } = normalization;

    /// <summary>Decodes the next unit.</summary>
    /// <param name="latents">Normalised latents [b, c, t, h, w].</param>
    /// <returns>Pixels, about -1 to 1: [b, 3, 8t, 8h, 8w], but for the first unit 1 + 8(t - 1) frames.</returns>
    /// <exception cref="InvalidOperationException">The pixels are not finite in the wider type either.</exception>
    public Tensor Decode(Tensor latents)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var z = Normalization.Denormalize(latents, !started);
        started = true;
        var frames = stream.Push(widened ? z.To(ElementType.Float32) : z);
        if (wider is not null && !frames.AllFinite())
            frames = DecodeAgain(z);
        else if (wider is not null && !widened)
            decoded.Add(TensorScope.Detach(z));
        return scope.Keep(frames);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        stream.Dispose();
        decoded.ForEach(latents => latents.Dispose());
        decoded.Clear();
    }

    // The frames that layers remember may be spoilt too, so the clip's latents go through once more from its beginning.
    private Tensor DecodeAgain(Tensor z)
    {
        if (widened)
            throw new InvalidOperationException("the VAE's numbers are not finite in float32 either: its weights are damaged, download the checkpoint again");
        widened = true;
        warn?.Invoke("numbers of the VAE went beyond float16: that part was decoded again in float32, and so is the rest of the clip");
        stream.Dispose();
        stream = wider!().DecodeStream(tiles);
        foreach (var before in decoded)
        {
            using var scope = new TensorScope();
            stream.Push(before.To(ElementType.Float32));
            before.Dispose();
        }

        decoded.Clear();
        var frames = stream.Push(z.To(ElementType.Float32));
        return frames.AllFinite() ? frames : DecodeAgain(z);
    }
}
