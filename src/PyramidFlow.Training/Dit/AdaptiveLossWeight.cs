namespace PyramidFlow.Training.Dit;

/// <summary>
/// Weights losses by timestep so that all parts of the axis count alike: one over a running mean of the loss in the sample's
/// bucket (<c>video_vae/modeling_loss.py</c>).
/// </summary>
public sealed class AdaptiveLossWeight
{
    private readonly float[] bounds;
    private readonly float[] losses;

    /// <summary>Starts with a mean of 1 everywhere.</summary>
    /// <param name="low">Begin of the axis.</param>
    /// <param name="high">Its end.</param>
    /// <param name="buckets">Number of buckets, at least 3: the first and the last take what lies outside the axis.</param>
    public AdaptiveLossWeight(double low = 0, double high = 1, int buckets = 300)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(buckets, 3);
        bounds = [.. Enumerable.Range(0, buckets - 1).Select(i => (float)(low + ((high - low) * i / (buckets - 2))))];
        losses = [.. Enumerable.Repeat(1f, buckets)];
    }

    /// <summary>Smallest and largest weight.</summary>
    public (float Least, float Most) Range { get; init; } = (1e-7f, 1e7f);

    /// <summary>Running mean of each bucket, for checkpoints.</summary>
    public IReadOnlyList<float> BucketLosses => losses;

    /// <summary>The weight of each sample.</summary>
    public float[] Weights(IReadOnlyList<float> timesteps) =>
        [.. timesteps.Select(t => Math.Clamp(1 / losses[Bucket(t)], Range.Least, Range.Most))];

    /// <summary>Takes the losses of a batch in. Where several fall into one bucket, the last one counts, as released.</summary>
    /// <param name="timesteps">Of each sample.</param>
    /// <param name="sampleLosses">Of each sample.</param>
    /// <param name="beta">Share of the mean that stays, 0 to 1.</param>
    public void Update(IReadOnlyList<float> timesteps, IReadOnlyList<float> sampleLosses, double beta = 0.99)
    {
        var before = losses.ToArray();
        for (var i = 0; i < timesteps.Count; i++)
        {
            var bucket = Bucket(timesteps[i]);
            losses[bucket] = (float)((before[bucket] * beta) + (sampleLosses[i] * (1 - beta)));
        }
    }

    // The number of bounds below the timestep.
    private int Bucket(float timestep)
    {
        var index = Array.BinarySearch(bounds, timestep);
        return index < 0 ? ~index : index;
    }
}
