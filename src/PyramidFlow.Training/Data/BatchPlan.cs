using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Data;

/// <summary>
/// Decides the items of each step. All processes use the same bucket at a time, so that none waits for another; buckets are drawn
/// in proportion to their number of items. Every pass over a bucket visits all of its items in a new order. The plan is a function
/// of seed, step, rank and number of processes, so that resuming needs no saved position.
/// </summary>
internal sealed class BatchPlan
{
    private readonly BatchPlanOptions options;
    private readonly BucketOrder[] orders;
    private readonly BucketDraws draws;

    /// <summary>Creates the plan of a data set.</summary>
    /// <exception cref="TrainingException">There is no item, or an option is invalid.</exception>
    public BatchPlan(DataSet data, BatchPlanOptions options)
    {
        options.Check();
        if (data.Items.Count == 0)
            throw TrainingFault.NoItem();
        (this.options, Digest, Items) = (options, data.Digest, data.Items);
        orders = [.. data.Items.GroupBy(item => item.Bucket).OrderBy(group => group.Key).Select((group, i) => new BucketOrder(group.Key, [.. group], options.Seed, i))];
        draws = new BucketDraws(Weights(), options.Seed);
    }

    /// <summary>Number of items in each bucket.</summary>
    public IReadOnlyList<(Bucket Bucket, int Count)> Counts => [.. orders.Select(order => (order.Bucket, order.Count))];

    /// <summary>The items.</summary>
    public IReadOnlyList<DataItem> Items { get; }

    /// <summary>Share of the batches of each bucket.</summary>
    public IReadOnlyList<(Bucket Bucket, double Share)> Shares
    {
        get
        {
            var weights = Weights();
            return [.. orders.Zip(weights, (order, weight) => (order.Bucket, weight / weights.Sum()))];
        }
    }

    /// <summary>Digest of the items, for processes that compare theirs; see <see cref="DataSet.Digest"/>.</summary>
    public string Digest { get; }

    /// <summary>The data in the words of the first line of a run.</summary>
    /// <param name="leftOut">Number of items that the scan left out.</param>
    /// <param name="batch">The batch of a process, as configured.</param>
    public TrainingData Describe(int leftOut, string batch) =>
        new(orders.Sum(order => (long)order.Count), leftOut, TrainingData.Shown([.. orders.Select(order => order.Bucket.ToString())]), Digest, batch, ItemsPerBatch);

    /// <summary>Difference of the numbers of two batches that this process computes one after the other.</summary>
    public int Stride => options.Stride;

    // The mean over the buckets.
    private double ItemsPerBatch
    {
        get
        {
            var weights = Weights();
            return options.World * orders.Zip(weights, (order, weight) => options.SizeOf(order.Bucket) * weight).Sum() / weights.Sum();
        }
    }

    /// <summary>The batch of this process for a step.</summary>
    /// <param name="step">Step, from 0; with several micro-batches a step the number of the micro-batch.</param>
    public PlannedBatch Batch(long step)
    {
        var (together, index) = Math.DivRem(step, options.OfOneBucket);
        var (bucket, earlier) = draws.At(together);
        var size = options.SizeOf(orders[bucket].Bucket);
        var stride = (long)options.World * size;
        var first = (((earlier * options.OfOneBucket) + index) * stride) + ((long)options.Rank * size);
        return new PlannedBatch(options, step, orders[bucket], first, stride);
    }

    private double[] Weights()
    {
        var images = orders.Where(order => order.Bucket.IsImage).Sum(order => (double)order.Count);
        var videos = orders.Sum(order => (double)order.Count) - images;
        return options.ImageShare is not { } share || images == 0 || videos == 0
            ? [.. orders.Select(order => (double)order.Count)]
            : [.. orders.Select(order => order.Bucket.IsImage ? share * order.Count / images : (1 - share) * order.Count / videos)];
    }
}

/// <summary>Inputs of a batch plan besides the step.</summary>
/// <param name="Seed">Seed of the run.</param>
/// <param name="BatchSize">Items per batch of one process.</param>
/// <param name="Rank">Rank of this process. Processes that share their items (a <c>video_sync_group</c>) count as one: rank / group of world / group.</param>
/// <param name="World">Number of processes.</param>
/// <param name="ImageShare">Share of the steps that train on images, 0 to 1, if there are images and videos; null uses their share of the items.</param>
/// <param name="ImageBatchSize">Items per batch of images; null is the same as for videos.</param>
internal sealed record BatchPlanOptions(long Seed, int BatchSize, int Rank = 0, int World = 1, double? ImageShare = null, int? ImageBatchSize = null)
{
    /// <summary>Number of batches in a row that are of one bucket, because several processes compute them at the same time; at least 1.</summary>
    public int OfOneBucket { get; init; } = 1;

    /// <summary>Difference of the numbers of two batches that this process computes one after the other; at least 1.</summary>
    public int Stride { get; init; } = 1;

    /// <summary>The plan of one process of a training.</summary>
    /// <param name="config">Seed, and whether whole micro-batches are shared among the processes.</param>
    /// <param name="batch">Items per batch of one process.</param>
    /// <param name="rank">Rank of this process.</param>
    /// <param name="ranks">Number of processes.</param>
    /// <param name="sharing">Number of processes that read the same items.</param>
    /// <exception cref="TrainingException">The micro-batches of a step cannot be shared among the processes.</exception>
    public static BatchPlanOptions Of(LoopConfig config, int batch, int rank, int ranks, int sharing = 1) => config.BatchesPerStep is { } all
        ? new BatchPlanOptions(config.Seed, batch) { OfOneBucket = all, Stride = config.MicroBatches(ranks).Stride }
        : new BatchPlanOptions(config.Seed, batch, rank / sharing, ranks / sharing);

    /// <summary>Size of the largest batch.</summary>
    internal int MostItems => Math.Max(BatchSize, ImageBatchSize ?? 0);

    /// <summary>Batch size of a bucket.</summary>
    internal int SizeOf(Bucket bucket) => bucket.IsImage ? ImageBatchSize ?? BatchSize : BatchSize;

    /// <exception cref="TrainingException">A value is invalid.</exception>
    internal void Check()
    {
        if (BatchSize < 1 || ImageBatchSize < 1)
            throw TrainingFault.BatchTooSmall(Math.Min(BatchSize, ImageBatchSize ?? BatchSize));
        if (World < 1 || Rank < 0 || Rank >= World)
            throw TrainingFault.RankImpossible(Rank, World);
        if (ImageShare is { } share && share is not (>= 0 and <= 1))
            throw TrainingFault.NoShare(null, "data.image_share", share);
    }
}

/// <summary>A batch of a plan.</summary>
internal sealed class PlannedBatch
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

    /// <summary>The step, from 0.</summary>
    public long Step { get; }

    /// <summary>The bucket of all items.</summary>
    public Bucket Bucket => order.Bucket;

    /// <summary>Number of items.</summary>
    public int Size => options.SizeOf(Bucket);

    /// <summary>Number of items in the bucket.</summary>
    public int BucketCount => order.Count;

    /// <summary>The item of a slot.</summary>
    /// <param name="slot">0 to <see cref="Size"/> - 1.</param>
    /// <param name="attempt">0 for the planned item; 1 and up for its replacements if it is bad: the items of the same slot in the next batches
    /// of the bucket.</param>
    public DataItem Item(int slot, int attempt = 0) => order.At(first + slot + (attempt * stride));

    /// <summary>Random numbers of a slot, such as the start of its clip.</summary>
    internal KeyedRandom Draws(int slot) => new(options.Seed, DrawStream, ((Step * options.World) + options.Rank) * options.MostItems + slot);
}

/// <summary>The items of a bucket as an endless sequence of shuffled passes. Thread-safe.</summary>
internal sealed class BucketOrder(Bucket bucket, DataItem[] items, long seed, int number)
{
    // Neighbouring batches span one or two passes; replacements of bad items may lie further ahead.
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
                passes[pass] = order = Shuffled(new KeyedRandom(seed, Stream + number, pass));
            }

            return items[order[place]];
        }
    }

    private int[] Shuffled(KeyedRandom random)
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

/// <summary>Draws the bucket of every step, and counts its earlier draws.</summary>
/// <param name="weights">Relative weights of the buckets.</param>
/// <param name="seed">Seed of the run.</param>
internal sealed class BucketDraws(double[] weights, long seed)
{
    private const long Stream = 0xB0CE7;
    private const int Spacing = 4096;

    private readonly Lock gate = new();
    private readonly double total = weights.Sum();
    private readonly List<long[]> counts = [new long[weights.Length]];        // before step 0, 4096, 8192 and so on

    /// <summary>The bucket of a step, from 0, and the number of earlier steps with the same bucket.</summary>
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
        var left = (new KeyedRandom(seed, Stream, step).NextUInt64() >> 11) * unit * total;
        var bucket = 0;
        for (; bucket < weights.Length - 1 && left >= weights[bucket]; bucket++)
            left -= weights[bucket];
        return bucket;
    }
}
