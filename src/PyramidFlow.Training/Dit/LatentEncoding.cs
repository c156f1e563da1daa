using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Dit;

/// <summary>Pixels to the latents a transformer trains on.</summary>
public static class LatentEncoding
{
    /// <summary>Encodes videos or images, draws latents from what the encoder gives, and normalises them; no gradients.</summary>
    /// <param name="vae">The encoder.</param>
    /// <param name="normalization">How the transformer sees latents.</param>
    /// <param name="pixels">In -1 to 1, [b, 3, 1 + 8n, 8h, 8w].</param>
    /// <param name="draws">Source of the draws around the means; null takes the means.</param>
    /// <param name="window">Frames at a time after the first, a multiple of 8; null is all at once.</param>
    /// <returns>Normalised latents, [b, c, 1 + n, h, w].</returns>
    public static Tensor Encode(CausalVideoVae vae, LatentNormalization normalization, Tensor pixels, ITrainingDraws? draws, int? window = null)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var posterior = vae.Encode(pixels, window);
        var latents = draws is null ? posterior.Mode
            : posterior.Sample(draws.Normal(posterior.Mean.Shape).To(posterior.Mean.Type).To(posterior.Mean.Device));
        return scope.Keep(normalization.Normalize(latents, isStart: true));
    }
}
