using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Vae;

namespace PyramidFlow.Pipelines;

/// <summary>Decodes one clip unit by unit, with the result of decoding it whole.</summary>
/// <param name="vae">The VAE; it stays the caller's.</param>
/// <param name="normalization">How the transformer sees its latents.</param>
public sealed class UnitDecoder(CausalVideoVae vae, LatentNormalization normalization) : IDisposable
{
    private readonly CausalCache cache = new();
    private bool started;

    /// <summary>Decodes the next unit.</summary>
    /// <param name="latents">Normalised latents [b, c, t, h, w].</param>
    /// <returns>Pixels, about -1 to 1: [b, 3, 8t, 8h, 8w], but for the first unit 1 + 8(t - 1) frames.</returns>
    public Tensor Decode(Tensor latents)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var z = normalization.Denormalize(latents, !started);
        var frames = vae.DecodeFrames(z, new CausalPass(!started, cache));
        started = true;
        return scope.Keep(frames);
    }

    /// <inheritdoc/>
    public void Dispose() => cache.Dispose();
}
