using PyramidFlow.Training.Sprites;

namespace PyramidFlow.Training.Data;

/// <summary>The items of one bucket as an endless row: pass after pass, each in an order of its own. For any number of threads.</summary>
internal sealed class BucketOrder(Bucket bucket, DataItem[] items, long seed, int number)
{
    // Neighbouring batches need one pass or two; what stands in for bad items may lie further.
    private const int MostKept = 4;
    private const long Stream = 0x0B0C4;

    private readonly Lock gate = new();
    private readonly Dictionary<long, int[]> passes = [];

    public Bucket Bucket => bucket;

    public int Count => items.Length;

    /// <summary>The item at a position, from 0.</summary>
    public DataItem At(long position)
    {
        var (pass, place) = Math.DivRem(position, items.Length);
        lock (gate)
        {
            if (!passes.TryGetValue(pass, out var order))
            {
                if (passes.Count == MostKept)
                    passes.Remove(passes.Keys.Min());
                passes[pass] = order = Shuffled(new SpriteRandom(seed, Stream + number, pass));
            }

            return items[order[place]];
        }
    }

    private int[] Shuffled(SpriteRandom random)
    {
        int[] order = [.. Enumerable.Range(0, items.Length)];
        for (var i = order.Length - 1; i > 0; i--)
        {
            var other = random.NextInt(i + 1);
            (order[i], order[other]) = (order[other], order[i]);
        }

        return order;
    }
}
