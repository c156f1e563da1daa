using PyramidFlow.Training.Sprites;

namespace PyramidFlow.Training.Data;

/// <summary>One batch of a plan.</summary>
public sealed class PlannedBatch
{
    private const long DrawStream = 0x0DA7A;

    private readonly BatchPlanOptions options;
    private readonly BucketOrder order;
    private readonly long first, stride;

    internal PlannedBatch(BatchPlanOptions options, long step, BucketOrder order, long first, long stride)
    {
        (this.options, this.order, this.first, this.stride) = (options, order, first, stride);
        Step = step;
    }

    /// <summary>The step.</summary>
    public long Step { get; }

    /// <summary>What all its items are cut to.</summary>
    public Bucket Bucket => order.Bucket;

    /// <summary>Number of items.</summary>
    public int Size => options.SizeOf(Bucket);

    /// <summary>Items the bucket has.</summary>
    public int BucketCount => order.Count;

    /// <summary>The item of a place in the batch.</summary>
    /// <param name="slot">0 to <see cref="Size"/> - 1.</param>
    /// <param name="attempt">0; 1 and up for what comes in its stead when that and the ones before cannot be used: what the
    /// same place would have in the next batches of the bucket.</param>
    public DataItem Item(int slot, int attempt = 0) => order.At(first + slot + (attempt * stride));

    /// <summary>Draws for a place in the batch, such as where its clip starts.</summary>
    internal SpriteRandom Draws(int slot) => new(options.Seed, DrawStream, ((Step * options.World) + options.Rank) * options.MostItems + slot);
}
