using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>All random draws of a generation, in the order they are asked for: float32 on the CPU, in the caller's scope.</summary>
public interface INoiseSource
{
    /// <summary>Where a unit starts: standard normal.</summary>
    /// <param name="shape">[b, c, t, h, w] at full resolution.</param>
    Tensor Latents(long[] shape);

    /// <summary>What is added after upsampling: <see cref="Scheduling.BlockNoise"/>.</summary>
    /// <param name="shape">[b, c, t, h, w] of the stage that begins.</param>
    /// <param name="gamma">Its correlation.</param>
    Tensor Block(long[] shape, double gamma);

    /// <summary>The draw of an image's latents around their mean: standard normal.</summary>
    /// <param name="shape">[b, c, 1, h, w].</param>
    Tensor Posterior(long[] shape);
}
