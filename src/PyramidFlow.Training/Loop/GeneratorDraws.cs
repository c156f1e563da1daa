using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>Draws from a generator.</summary>
/// <param name="generator">The generator; it stays the caller's.</param>
public sealed class GeneratorDraws(RandomGenerator generator) : ITrainingDraws
{
    /// <inheritdoc/>
    public float[] Uniform(int count)
    {
        using var scope = new TensorScope();
        return Tensor.Rand([count], generator).ToArray<float>();
    }

    /// <inheritdoc/>
    public Tensor Normal(long[] shape) => Tensor.Randn(shape, generator);
}
