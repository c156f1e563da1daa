namespace PyramidFlow.Training.Data;

/// <summary>
/// Which items each step trains on. A step has one bucket, the same for all processes so that none waits for another; it is
/// drawn by the number of items. Each bucket is gone through in a new order for every pass, without leaving any out. All of
/// this follows from seed, step, rank and number of processes: a run that goes on needs no position.
/// </summary>
public sealed class BatchPlan
{
    private readonly BatchPlanOptions options;
    private readonly BucketOrder[] orders;
    private readonly BucketDraws draws;

    /// <summary>Plans the use of a data set.</summary>
    /// <exception cref="DataException">There is no item, or an option is impossible.</exception>
    public BatchPlan(DataSet data, BatchPlanOptions options)
    {
        options.Check();
        if (data.Items.Count == 0)
            throw new DataException("there is no item to train on: look with data check");
        this.options = options;
        orders = [.. data.Items.GroupBy(item => item.Bucket).OrderBy(group => group.Key).Select((group, i) => new BucketOrder(group.Key, [.. group], options.Seed, i))];
        draws = new BucketDraws(Weights(), options.Seed);
    }

    /// <summary>Number of items in each bucket.</summary>
    public IReadOnlyList<(Bucket Bucket, int Count)> Counts => [.. orders.Select(order => (order.Bucket, order.Count))];

    /// <summary>A step's batch of this process.</summary>
    /// <param name="step">From 0; with accumulation the number of the small batch.</param>
    public PlannedBatch Batch(long step)
    {
        var (bucket, earlier) = draws.At(step);
        var size = options.SizeOf(orders[bucket].Bucket);
        var stride = (long)options.World * size;
        var first = (earlier * stride) + ((long)options.Rank * size);
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
