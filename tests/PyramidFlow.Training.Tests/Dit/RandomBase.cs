using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Tests.Dit;

/// <summary>Weights of a transformer as if it had been trained.</summary>
internal static class RandomBase
{
    public static void Write(string path, ITransformerConfig config, ulong seed)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(seed);
        using var model = config.Build();
        model.Initialize(generator);
        // Read-out and modulation start at zero, behind which nothing learns at first.
        SafetensorsWriter.Write(path, model.NamedParameters().Select(p =>
            (p.Key, p.Parameter.Trainable ? p.Parameter.Value + (Tensor.Randn(p.Parameter.Shape, generator) * 0.1) : p.Parameter.Value)));
    }
}
