using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

/// <summary>
/// T5's buckets of relative positions (Raffel et al. 2020, section 2.1): half of them for keys after the query; of each
/// half, half are exact distances and the others grow logarithmically up to a largest distance.
/// </summary>
public static class RelativePositions
{
    /// <summary>Bucket of each relative position.</summary>
    /// <param name="relative">Key position minus query position, int64, any shape.</param>
    /// <param name="buckets">Number of buckets, both directions together.</param>
    /// <param name="maxDistance">Distance from which the last bucket holds all.</param>
    /// <returns>Int64 bucket numbers of the same shape.</returns>
    public static Tensor Bucket(Tensor relative, long buckets, long maxDistance)
    {
        using var scope = new TensorScope();
        var half = buckets / 2;
        var exact = half / 2;
        var offset = relative.Gt(0).To(ElementType.Float32) * half;
        var distance = relative.To(ElementType.Float32).Abs();
        // Float32 in this order: distances on a bucket's edge depend on how the quotient rounds.
        var far = (((distance / exact).Log() / Math.Log((double)maxDistance / exact)) * (half - exact)).Clamp(0, half).Floor() + exact;
        var bucket = Tensor.Where(distance.Gt(exact - 1), far.Clamp(0, half - 1), distance);
        return scope.Keep((bucket + offset).To(ElementType.Int64));
    }

    /// <summary>Buckets for a sequence: [query, key], int64 [n, n].</summary>
    internal static Tensor Square(long n, long buckets, long maxDistance)
    {
        using var scope = new TensorScope();
        var position = Tensor.Arange(0, n, type: ElementType.Int64);
        return scope.Keep(Bucket(position.Unsqueeze(0) - position.Unsqueeze(1), buckets, maxDistance));
    }
}
