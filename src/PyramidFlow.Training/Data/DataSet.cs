using System.Security.Cryptography;
using System.Text;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>The usable items of a data set, in the order of their lines.</summary>
internal sealed class DataSet
{
    /// <summary>Creates a set of scanned items.</summary>
    public DataSet(IReadOnlyList<DataItem> items) => Items = items;

    /// <summary>All items.</summary>
    public IReadOnlyList<DataItem> Items { get; }

    /// <summary>Number of items in each bucket.</summary>
    public IReadOnlyList<(Bucket Bucket, int Count)> Counts =>
        [.. Items.GroupBy(item => item.Bucket).OrderBy(group => group.Key).Select(group => (group.Key, group.Count()))];

    /// <summary>Digest of the items in their order, for processes that compare theirs: buckets, file names and captions, but no folders.</summary>
    public string Digest
    {
        get
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            foreach (var (annotation, bucket, _, _) in Items)
            {
                var file = Path.GetFileName(annotation.Video ?? annotation.Image ?? annotation.Latent);
                hash.AppendData(Encoding.UTF8.GetBytes($"{bucket} {file} {annotation.Text}\n"));
            }

            return Convert.ToHexStringLower(hash.GetCurrentHash().AsSpan(0, 12));
        }
    }

    /// <summary>Splits off items for evaluation, evenly spaced over the lines.</summary>
    /// <param name="count">Number of items to hold out.</param>
    /// <exception cref="TrainingException">No item would be left.</exception>
    public (DataSet Training, DataSet HeldOut) HoldOut(int count)
    {
        if (count > 0 && count >= Items.Count)
            throw TrainingFault.HeldOutAll(count, Items.Count);
        var taken = Enumerable.Range(0, count).Select(i => (int)((2L * i + 1) * Items.Count / (2L * count))).ToHashSet();
        return (new DataSet([.. Items.Where((_, i) => !taken.Contains(i))]), new DataSet([.. Items.Where((_, i) => taken.Contains(i))]));
    }

    /// <summary>Scans every item once, in parallel; reads headers and decodes nothing.</summary>
    /// <param name="annotations">The lines.</param>
    /// <param name="scanner">Finds the bucket of an item.</param>
    /// <param name="faults">Records unusable items.</param>
    /// <param name="workers">Number of parallel scans.</param>
    /// <param name="progress">Reports the number of scanned items; null reports nothing.</param>
    /// <param name="cancellationToken">Cancels the operation.</param>
    internal static async Task<DataSet> ScanAsync(IReadOnlyList<Annotation> annotations, IItemScanner scanner, FaultLog faults, int workers,
        IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellationToken = default)
    {
        var items = new DataItem?[annotations.Count];
        var bad = new DataFault?[annotations.Count];
        var done = 0;
        try
        {
            await Parallel.ForAsync(0, annotations.Count, new ParallelOptions { MaxDegreeOfParallelism = workers, CancellationToken = cancellationToken }, async (i, ct) =>
            {
                try
                {
                    var versions = ItemFile.Versions(annotations[i], scanner.Files(annotations[i]));
                    items[i] = await scanner.ScanAsync(annotations[i], ct).ConfigureAwait(false) with { Versions = versions };
                }
                catch (BadItemException e)
                {
                    bad[i] = e.Fault(annotations[i]);
                }

                progress?.Report((Interlocked.Increment(ref done), annotations.Count));
            }).ConfigureAwait(false);
        }
        finally
        {
            // What the headers of members tell is kept even if the rest of the scan is for nothing.
            foreach (var shard in annotations.Select(annotation => annotation.Packed?.Shard).OfType<Shard>().Distinct())
                shard.Save();
        }

        foreach (var fault in bad)
        {
            if (fault is not null)
                faults.Add(fault);
        }

        return new DataSet([.. items.OfType<DataItem>()]);
    }

    /// <summary>Throws if the data set cannot be used.</summary>
    /// <param name="faults">Faults of the scan.</param>
    /// <param name="skipMissing">Whether missing files are accepted.</param>
    /// <param name="skipLines">Whether malformed and incomplete lines are accepted.</param>
    /// <exception cref="TrainingException">A line is malformed or incomplete, files are missing, or nearly no item is usable.</exception>
    public void Require(FaultLog faults, bool skipMissing, bool skipLines = false)
    {
        var all = faults.Faults;
        if (!skipLines && all.FirstOrDefault(fault => fault.Kind == DataFaultKind.Line) is { } line)
            throw TrainingFault.LineInvalid(line.File, line.Line, line.Error);
        var missing = all.Where(fault => fault.Kind == DataFaultKind.Missing).ToList();
        if (missing.Count > 0 && !skipMissing)
            throw TrainingFault.FilesMissing(missing[0].ToString(), missing.Count, missing[0].Error);
        if (BadShare.IsTooMuch(all.Count, all.Count + Items.Count))
            throw TrainingFault.TooManyBad(all.Count, all.Count + Items.Count, all[0].ToString(), all[0].Error);
    }
}

/// <summary>An item that is usable according to its headers.</summary>
/// <param name="Annotation">Its annotation.</param>
/// <param name="Bucket">Its bucket.</param>
/// <param name="Seconds">Duration of the video; 0 for images and latents.</param>
/// <param name="FramesPerSecond">Average frame rate of the stored video; 0 for images and latents.</param>
public sealed record DataItem(Annotation Annotation, Bucket Bucket, double Seconds = 0, double FramesPerSecond = 0)
{
    /// <summary>Its files on the disk as they were scanned.</summary>
    internal IReadOnlyList<FileVersion> Versions { get; init; } = [];
}

/// <summary>A file at a moment: another size or time means another content.</summary>
/// <param name="Path">Path of the file.</param>
/// <param name="Length">Size in bytes.</param>
/// <param name="Written">Time of the last change, UTC.</param>
internal sealed record FileVersion(string Path, long Length, DateTime Written);

/// <summary>Finds the bucket of an item without decoding it.</summary>
internal interface IItemScanner
{
    /// <summary>Scans an item; throws <see cref="BadItemException"/> if it is unusable.</summary>
    /// <param name="annotation">The item.</param>
    /// <param name="cancellationToken">Cancels the operation.</param>
    ValueTask<DataItem> ScanAsync(Annotation annotation, CancellationToken cancellationToken);

    /// <summary>Paths of an item that are read when it is trained on; null is none.</summary>
    /// <param name="annotation">The item.</param>
    IReadOnlyList<string?> Files(Annotation annotation);
}

/// <summary>Passes progress to a delegate on the reporting thread; <see cref="Progress{T}"/> would post it to another thread.</summary>
/// <typeparam name="T">Type of a report.</typeparam>
/// <param name="report">Receives every report.</param>
internal sealed class DelegateProgress<T>(Action<T> report) : IProgress<T>
{
    /// <inheritdoc/>
    public void Report(T value) => report(value);
}
