using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Training.Lora;

/// <summary>Transformers of which only a LoRA is trained.</summary>
internal static class AdaptedTransformer
{
    private const long FingerprintElements = 16;

    /// <summary>Freezes a loaded transformer and adds the LoRA's matrices, drawn from the seed.</summary>
    internal static void Attach(PyramidTransformer model, LoraConfig lora, long seed)
    {
        using var generator = new RandomGenerator((ulong)seed);
        LoraAdapters.Attach(model, lora, generator);
    }

    /// <summary>Gives another worker's transformer the same frozen weights, and matrices of its own that are to be shared later.</summary>
    /// <param name="original">The first worker's, with the LoRA attached.</param>
    /// <param name="another">The other one, without weights.</param>
    /// <param name="lora">The LoRA.</param>
    internal static void Share(PyramidTransformer original, PyramidTransformer another, LoraConfig lora)
    {
        var weights = original.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter);
        foreach (var (key, parameter) in another.NamedParameters())
            parameter.Value = weights[key].Value.Detach();
        Attach(another, lora, 0);
    }

    /// <summary>Says which LoRA of which weights it is; of large weights it looks at a few elements each.</summary>
    /// <param name="model">The transformer, with weights.</param>
    /// <param name="lora">The LoRA.</param>
    internal static string Identity(Module model, LoraConfig lora)
    {
        using var scope = new TensorScope();
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (_, parameter) in model.NamedParameters())
        {
            var all = parameter.Value.Flatten(0);
            var some = all.Slice(0, 0, all.ElementCount, Math.Max(1, all.ElementCount / FingerprintElements)).To(ElementType.Float32);
            hash.AppendData(MemoryMarshal.AsBytes(some.Contiguous().ToArray<float>().AsSpan()));
        }

        var weights = Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
        return string.Create(CultureInfo.InvariantCulture, $"lora rank {lora.Rank} alpha {lora.Alpha} of {string.Join(",", lora.Targets)} in {weights}");
    }
}
