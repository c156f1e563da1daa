namespace PyramidFlow.Training.Data;

/// <summary>The items of a data set that can be used, in the order of their lines.</summary>
public sealed class DataSet
{
    /// <summary>A set of items that were placed before.</summary>
    public DataSet(IReadOnlyList<DataItem> items) => Items = items;

    /// <summary>All items.</summary>
    public IReadOnlyList<DataItem> Items { get; }

    /// <summary>Number of items in each bucket.</summary>
    public IReadOnlyList<(Bucket Bucket, int Count)> Counts =>
        [.. Items.GroupBy(item => item.Bucket).OrderBy(group => group.Key).Select(group => (group.Key, group.Count()))];

    /// <summary>Takes some items out, evenly spread over the lines, to measure on.</summary>
    /// <param name="count">How many.</param>
    /// <exception cref="DataException">None would be left.</exception>
    public (DataSet Training, DataSet HeldOut) HoldOut(int count)
    {
        if (count > 0 && count >= Items.Count)
            throw new DataException($"held_out {count} leaves none of the {Items.Count} items to train on: hold out fewer");
        var taken = Enumerable.Range(0, count).Select(i => (int)((2L * i + 1) * Items.Count / (2L * count))).ToHashSet();
        return (new DataSet([.. Items.Where((_, i) => !taken.Contains(i))]), new DataSet([.. Items.Where((_, i) => taken.Contains(i))]));
    }

    /// <summary>Looks at every item once, several at a time; headers only, nothing is decoded.</summary>
    /// <param name="annotations">The lines.</param>
    /// <param name="look">Places an item.</param>
    /// <param name="faults">Told about items that cannot be used.</param>
    /// <param name="workers">How many at a time.</param>
    /// <param name="progress">Told how many were looked at, or null.</param>
    /// <param name="cancellationToken">Stops it.</param>
    internal static async Task<DataSet> ScanAsync(IReadOnlyList<Annotation> annotations, IItemScanner look, FaultLog faults, int workers,
        IProgress<int>? progress = null, CancellationToken cancellationToken = default)
    {
        var items = new DataItem?[annotations.Count];
        var bad = new DataFault?[annotations.Count];
        var done = 0;
        await Parallel.ForAsync(0, annotations.Count, new ParallelOptions { MaxDegreeOfParallelism = workers, CancellationToken = cancellationToken }, async (i, ct) =>
        {
            try
            {
                items[i] = await look.ScanAsync(annotations[i], ct).ConfigureAwait(false);
            }
            catch (BadItemException e)
            {
                bad[i] = e.Fault(annotations[i]);
            }

            progress?.Report(Interlocked.Increment(ref done));
        }).ConfigureAwait(false);
        foreach (var fault in bad)
        {
            if (fault is not null)
                faults.Add(fault);
        }

        return new DataSet([.. items.OfType<DataItem>()]);
    }

    /// <summary>Fails when work cannot begin.</summary>
    /// <param name="faults">What was found.</param>
    /// <param name="skipMissing">Whether missing files are let pass.</param>
    /// <param name="skipLines">Whether malformed lines, and those that lack what is needed, are let pass.</param>
    /// <exception cref="DataException">A line lacks what is needed, files are missing, or (nearly) no item can be used.</exception>
    public void Require(FaultLog faults, bool skipMissing, bool skipLines = false)
    {
        var all = faults.Faults;
        if (!skipLines && all.FirstOrDefault(fault => fault.Kind == DataFaultKind.Line) is { } line)
            throw new DataException(line.ToString());
        var missing = all.Where(fault => fault.Kind == DataFaultKind.Missing).ToList();
        if (missing.Count > 0 && !skipMissing)
            throw new DataException($"{missing[0]}{More(missing.Count)}; mend the paths, or set skip_missing to go on without");
        if (BadShare.IsTooMuch(all.Count, all.Count + Items.Count))
            throw new DataException($"{all.Count} of {all.Count + Items.Count} items cannot be used, such as {all[0]}: look with data check");
    }

    private static string More(int count) => count > 1 ? $" (and {count - 1} more files are missing)" : "";
}

/// <summary>An item that can be used, as far as it shows without decoding.</summary>
/// <param name="Annotation">Its line.</param>
/// <param name="Bucket">What it is cut to.</param>
/// <param name="Seconds">Duration of the video; 0 for images and latents.</param>
/// <param name="FramesPerSecond">Average rate of the video as stored; 0 for images and latents.</param>
public sealed record DataItem(Annotation Annotation, Bucket Bucket, double Seconds = 0, double FramesPerSecond = 0);

/// <summary>Finds out what an item can be used for, without decoding it.</summary>
internal interface IItemScanner
{
    /// <summary>Places an item in a bucket; an item that cannot be used is reported by the data set that asked.</summary>
    /// <param name="annotation">The item.</param>
    /// <param name="cancellationToken">Stops it.</param>
    ValueTask<DataItem> ScanAsync(Annotation annotation, CancellationToken cancellationToken);
}
