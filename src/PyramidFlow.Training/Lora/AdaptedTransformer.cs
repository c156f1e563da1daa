using System.Runtime.InteropServices;
using System.Security.Cryptography;
using PyramidFlow.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Transformers;

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

    /// <summary>A transformer for another worker, over the same frozen weights; its LoRA is to be shared too.</summary>
    /// <param name="config">Sizes of the transformer.</param>
    /// <param name="lora">The LoRA.</param>
    /// <param name="original">The first worker's, with the LoRA attached.</param>
    internal static PyramidTransformer Another(ITransformerConfig config, LoraConfig lora, PyramidTransformer original)
    {
        var another = config.Build();
        var weights = original.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter);
        foreach (var (key, parameter) in another.NamedParameters())
            parameter.Value = weights[key].Value.Detached();
        Attach(another, lora, 0);
        return another;
    }

    /// <summary>A short text that differs when the weights do; of large weights it looks at a few elements each.</summary>
    internal static string Fingerprint(Module model)
    {
        using var scope = new TensorScope();
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (_, parameter) in model.NamedParameters())
        {
            var some = parameter.Value.Flatten(0);
            some = some.Slice(0, 0, some.ElementCount, Math.Max(1, some.ElementCount / FingerprintElements)).To(ElementType.Float32);
            hash.AppendData(MemoryMarshal.AsBytes(some.Contiguous().ToArray<float>().AsSpan()));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
    }
}
