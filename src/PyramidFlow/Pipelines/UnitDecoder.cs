using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Vae;

namespace PyramidFlow.Pipelines;

/// <summary>Decodes one clip unit by unit, with the result of decoding it whole.</summary>
/// <param name="vae">The VAE; it stays the caller's.</param>
/// <param name="normalization">How the transformer sees its latents.</param>
/// <param name="tiles">Decodes parts of the frames; null whole ones.</param>
public sealed class UnitDecoder(CausalVideoVae vae, LatentNormalization normalization, TileOptions? tiles = null) : IDisposable
{
    private readonly VaeStream stream = vae.DecodeStream(tiles);
    private bool started;

    /// <summary>Decodes the next unit.</summary>
    /// <param name="latents">Normalised latents [b, c, t, h, w].</param>
    /// <returns>Pixels, about -1 to 1: [b, 3, 8t, 8h, 8w], but for the first unit 1 + 8(t - 1) frames.</returns>
    public Tensor Decode(Tensor latents)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var frames = stream.Push(normalization.Denormalize(latents, !started));
        started = true;
        return scope.Keep(frames);
    }

    /// <inheritdoc/>
    public void Dispose() => stream.Dispose();
}
