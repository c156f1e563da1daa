using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Vae;

/// <summary>A VAE of the released layout, a few channels wide, with random weights that let every part contribute.</summary>
internal static class SmallVae
{
    internal static CausalVideoVaeConfig Config { get; } = CausalVideoVaeConfig.Uniform([8, 8, 16, 16], 1, 1, latentChannels: 4, groups: 4);

    internal static CausalVideoVae Create(ElementType? convolutionType = null, bool trainable = false)
    {
        var vae = new CausalVideoVae(Config) { ConvolutionType = convolutionType };
        using var generator = new RandomGenerator(5);
        vae.Initialize(generator);
        using var noGrad = NoGrad.Begin();
        foreach (var (_, parameter) in vae.NamedParameters())
        {
            if (parameter.Shape.Length > 1)
                parameter.Value.NormalInPlace(0, Math.Sqrt(1.0 / parameter.Shape[1..].Aggregate(1L, (a, b) => a * b)), generator);
            parameter.Value.RequiresGrad = trainable;
        }

        return vae;
    }

    internal static Tensor Random(params long[] shape)
    {
        using var generator = new RandomGenerator(7);
        return Tensor.Randn(shape, generator);
    }
}
