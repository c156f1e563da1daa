using System.Security.Cryptography;
using System.Text;
using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Data;

/// <summary>
/// Identity of the models that latents and text features come from: a digest of names, shapes and some numbers of their weights, rounded to bfloat16, so that a copy in another
/// number type is the same model.
/// </summary>
internal static class SourceModel
{
    private const int MostWeights = 16, MostNumbers = 64, Digits = 16;

    /// <summary>Identity of the encoder of a VAE, whatever its decoder is.</summary>
    /// <param name="vae">The VAE.</param>
    /// <returns>Null where the folder has no weights, as that of a model whose encoders were only needed for an extraction.</returns>
    public static string? OfVae(ComponentFolder vae) =>
        Digest(() => vae, key => key.StartsWith("encoder.", StringComparison.Ordinal) || key.StartsWith("quant_conv.", StringComparison.Ordinal));

    /// <summary>Identity of the text encoders of a model.</summary>
    /// <param name="model">The model.</param>
    /// <returns>Null where one of them has no weights.</returns>
    public static string? OfTexts(CheckpointFolder model)
    {
        var digests = model.Family.TextComponents.Select(part => Digest(() => model.Component(part.TextEncoder), _ => true)).ToList();
        return digests.Contains(null) ? null : string.Join('-', digests);
    }

    private static string? Digest(Func<ComponentFolder> folder, Func<string, bool> isPart)
    {
        try
        {
            using var noGrad = NoGrad.Begin();
            using var weights = folder().OpenWeights();
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            var keys = weights.Keys.Where(isPart).Order(StringComparer.Ordinal).ToList();
            for (var i = 0; i < Math.Min(MostWeights, keys.Count); i++)
            {
                using var scope = new TensorScope();
                var key = keys[(int)((long)i * (keys.Count - 1) / Math.Max(1, MostWeights - 1))];
                var weight = weights.Read(key);
                hash.AppendData(Encoding.UTF8.GetBytes($"{key} {string.Join(',', weight.Shape)}\n"));
                var numbers = weight.Reshape(-1);
                hash.AppendData(numbers.Narrow(0, 0, Math.Min(MostNumbers, numbers.ElementCount)).To(ElementType.BFloat16).Contiguous().RawBytes());
            }

            return Convert.ToHexStringLower(hash.GetCurrentHash())[..Digits];
        }
        catch (CheckpointException)
        {
            return null;
        }
    }
}
