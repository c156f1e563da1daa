using PyramidFlow.Torch;

namespace PyramidFlow.Scheduling;

/// <summary>
/// Gaussian noise whose 2x2 blocks have covariance (1 + gamma) I - gamma 11^T: added to an upsampled sample it makes
/// neighbouring pixels independent again (paper section 3.1).
/// </summary>
internal static class BlockNoise
{
    /// <summary>Largest gamma: beyond 1/3 the matrix is no covariance; at 1/3 every block sums to zero.</summary>
    public const double MaxGamma = 1 / 3.0;

    /// <summary>Draws noise.</summary>
    /// <param name="shape">[..., h, w]; h and w even.</param>
    /// <param name="gamma">In [0, 1/3].</param>
    /// <param name="generator">Source of the draws; on the CPU.</param>
    public static Tensor Draw(long[] shape, double gamma, RandomGenerator generator)
    {
        using var scope = new TensorScope();
        return scope.Keep(FromNormal(Tensor.Randn(shape, generator), gamma));
    }

    /// <summary>Turns independent normal draws [..., h, w] into block noise of the same shape.</summary>
    // With A = sqrt(1+g) (I - c/4 11^T) and 11^T 11^T = 4 11^T:  A A^T = (1+g) I - (1+g) (c/2 - c^2/4) 11^T, so
    // c^2 - 2c + 4g/(1+g) = 0 and c = 1 - sqrt((1-3g) / (1+g)). (11^T / 4) z is the mean of z's block.
    public static Tensor FromNormal(Tensor z, double gamma)
    {
        if (gamma is not (>= 0 and <= MaxGamma))
            throw new ArgumentOutOfRangeException(nameof(gamma), gamma, "gamma must be in [0, 1/3]");
        using var scope = new TensorScope();
        var c = 1 - Math.Sqrt(Math.Max(0, 1 - (3 * gamma)) / (1 + gamma));
        // Pooling in planes is faster than strided sums over blocks.
        var planes = z.Reshape(1, -1, z.Size(-2), z.Size(-1));                              // [1, n, h, w]
        var mean = planes.AvgPool2d(2, 2).InterpolateNearest(z.Size(-2), z.Size(-1));       // [1, n, h, w]
        return scope.Keep(planes.Add(mean, -c).MulInPlace(Math.Sqrt(1 + gamma)).Reshape(z.Shape));
    }
}
