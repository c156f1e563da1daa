using PyramidFlow.Training.Sprites;

namespace PyramidFlow.Training.Data;

/// <summary>Draws the bucket of every step, and counts how often it was drawn before.</summary>
/// <param name="weights">Of the buckets, in any unit.</param>
/// <param name="seed">Seed of the run.</param>
internal sealed class BucketDraws(double[] weights, long seed)
{
    private const long Stream = 0xB0CE7;
    private const int Spacing = 4096;

    private readonly Lock gate = new();
    private readonly double total = weights.Sum();
    private readonly List<long[]> counts = [new long[weights.Length]];        // before step 0, 4096, 8192 and so on

    /// <summary>The bucket of a step, from 0, and how many steps before it had the same.</summary>
    public (int Bucket, long Earlier) At(long step)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(step);
        var bucket = Draw(step);
        if (weights.Length == 1)
            return (0, step);
        lock (gate)
        {
            while (counts.Count <= step / Spacing)
                counts.Add(CountedTo(counts[^1], (counts.Count - 1L) * Spacing, counts.Count * (long)Spacing));
            return (bucket, CountedTo(counts[(int)(step / Spacing)], step / Spacing * Spacing, step)[bucket]);
        }
    }

    private long[] CountedTo(long[] before, long from, long to)
    {
        long[] after = [.. before];
        for (var step = from; step < to; step++)
            after[Draw(step)]++;
        return after;
    }

    private int Draw(long step)
    {
        const double unit = 1.0 / (1L << 53);
        var left = (new SpriteRandom(seed, Stream, step).NextUInt64() >> 11) * unit * total;
        var bucket = 0;
        for (; bucket < weights.Length - 1 && left >= weights[bucket]; bucket++)
            left -= weights[bucket];
        return bucket;
    }
}
