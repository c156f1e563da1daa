using PyramidFlow.Scheduling;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Draws from one generator, unit by unit: a seed gives the same latents on every device, and a longer clip begins like a
/// shorter one.
/// </summary>
/// <param name="seed">Seed of all draws.</param>
internal sealed class SeededNoise(ulong seed) : INoiseSource, IDisposable
{
    private readonly RandomGenerator generator = new(seed);

    /// <inheritdoc/>
    public Tensor Latents(long[] shape) => Tensor.Randn(shape, generator);

    /// <inheritdoc/>
    public Tensor Block(long[] shape, double gamma) => BlockNoise.Draw(shape, gamma, generator);

    /// <inheritdoc/>
    public Tensor Posterior(long[] shape) => Tensor.Randn(shape, generator);

    /// <summary>Skips the draws of given units, so that a clip continues like one that was never interrupted.</summary>
    /// <param name="plan">Shape of the latents, stages and frames of a unit.</param>
    /// <param name="channels">Channels of the latents.</param>
    /// <param name="frames">Latent frames that are given.</param>
    public void Skip(SamplingPlan plan, long channels, int frames)
    {
        for (int done = 0, count = 1; done < frames; done += count, count = plan.FramesPerUnit)
            SkipUnit(plan, channels, count);
    }

    /// <summary>Skips the draws of a unit.</summary>
    /// <param name="plan">Shape of the latents, and stages.</param>
    /// <param name="channels">Channels of the latents.</param>
    /// <param name="frames">Latent frames of the unit.</param>
    public void SkipUnit(SamplingPlan plan, long channels, int frames)
    {
        using var scope = new TensorScope();
        Latents([1, channels, frames, plan.Height, plan.Width]);
        for (var stage = 1; stage < plan.Stages; stage++)
        {
            var halvings = plan.Stages - 1 - stage;
            Latents([1, channels, frames, plan.Height >> halvings, plan.Width >> halvings]);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => generator.Dispose();
}

/// <summary>All random draws of a generation, in the order of the calls: float32 on the CPU, in the caller's scope.</summary>
internal interface INoiseSource
{
    /// <summary>The start of a unit: standard normal.</summary>
    /// <param name="shape">[b, c, t, h, w] at full resolution.</param>
    Tensor Latents(long[] shape);

    /// <summary>The noise added after upsampling: <see cref="Scheduling.BlockNoise"/>.</summary>
    /// <param name="shape">[b, c, t, h, w] of the stage that begins.</param>
    /// <param name="gamma">Its correlation.</param>
    Tensor Block(long[] shape, double gamma);

    /// <summary>The draw of an image's latents around their mean: standard normal.</summary>
    /// <param name="shape">[b, c, 1, h, w].</param>
    Tensor Posterior(long[] shape);
}
