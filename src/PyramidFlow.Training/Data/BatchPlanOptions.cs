namespace PyramidFlow.Training.Data;

/// <summary>What, with the step's number, decides which items a batch has.</summary>
/// <param name="Seed">Seed of the run.</param>
/// <param name="BatchSize">Items in a batch of one process.</param>
/// <param name="Rank">This process. Processes that share their items (a <c>video_sync_group</c>) are one here: rank / group of world / group.</param>
/// <param name="World">Number of processes.</param>
/// <param name="ImageShare">Share of the steps that train on images, 0 to 1, where there are images and videos; null goes by their number.</param>
/// <param name="ImageBatchSize">Items in a batch of images; null is as many as of videos.</param>
public sealed record BatchPlanOptions(long Seed, int BatchSize, int Rank = 0, int World = 1, double? ImageShare = null, int? ImageBatchSize = null)
{
    /// <summary>Items in the largest batch.</summary>
    internal int MostItems => Math.Max(BatchSize, ImageBatchSize ?? 0);

    /// <summary>Items in a batch of a bucket.</summary>
    internal int SizeOf(Bucket bucket) => bucket.IsImage ? ImageBatchSize ?? BatchSize : BatchSize;

    /// <exception cref="DataException">A number is impossible.</exception>
    internal void Check()
    {
        if (BatchSize < 1 || ImageBatchSize < 1)
            throw new DataException($"a batch of {Math.Min(BatchSize, ImageBatchSize ?? BatchSize)} items is impossible: use at least 1");
        if (World < 1 || Rank < 0 || Rank >= World)
            throw new DataException($"rank {Rank} of {World} processes is impossible: ranks are 0 to {Math.Max(0, World - 1)}");
        if (ImageShare is { } share && share is not (>= 0 and <= 1))
            throw new DataException(FormattableString.Invariant($"image_share {share} is not 0 to 1"));
    }
}
