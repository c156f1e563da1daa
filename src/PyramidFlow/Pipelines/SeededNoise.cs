using PyramidFlow.Schedulers;
using PyramidFlow.Torch;

namespace PyramidFlow.Pipelines;

/// <summary>
/// Draws from one generator, unit by unit: a seed gives the same latents on every device, and a longer clip begins like a
/// shorter one.
/// </summary>
/// <param name="seed">Seed of all draws.</param>
public sealed class SeededNoise(ulong seed) : INoiseSource, IDisposable
{
    private readonly RandomGenerator generator = new(seed);

    /// <inheritdoc/>
    public Tensor Latents(long[] shape) => Tensor.Randn(shape, generator);

    /// <inheritdoc/>
    public Tensor Block(long[] shape, double gamma) => BlockNoise.Draw(shape, gamma, generator);

    /// <inheritdoc/>
    public Tensor Posterior(long[] shape) => Tensor.Randn(shape, generator);

    /// <inheritdoc/>
    public void Dispose() => generator.Dispose();
}
