using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>Reads the items of annotation files (<see cref="AnnotationFile"/>), of folders with texts (<see cref="TextFolder"/>) and of shards (<see cref="ShardItems"/>).</summary>
internal static class AnnotationSource
{
    /// <summary>Reads complete sources.</summary>
    /// <param name="log">Records items of folders and shards that cannot be used, and shards that are missing.</param>
    /// <param name="sources">One or more files, folders or shards.</param>
    /// <param name="shards">How shards are read; null is the default.</param>
    /// <param name="cancellationToken">Cancels the reading.</param>
    /// <returns>The items of all sources, in order.</returns>
    /// <exception cref="TrainingException">A source is missing, empty or unreadable, or a line is malformed; the message names the first one.</exception>
    public static async Task<IReadOnlyList<Annotation>> ReadAsync(FaultLog log, IEnumerable<string> sources, ShardOptions? shards = null, CancellationToken cancellationToken = default)
    {
        var (all, count) = (new List<Annotation>(), 0);
        foreach (var source in sources)
        {
            var (items, faults) = await ScanAsync(source, shards, cancellationToken).ConfigureAwait(false);
            if (faults.Any(fault => fault.Kind == DataFaultKind.Line))
                throw Invalid(faults);
            foreach (var fault in faults)
                log.Add(fault);
            all.AddRange(items);
            count += items.Count + faults.Count;
        }

        return count > 0 ? all : throw TrainingFault.NoFileNamed();
    }

    /// <summary>Reads the valid items of a source.</summary>
    /// <param name="source">The file, folder or shards.</param>
    /// <param name="faults">Records malformed lines and items that cannot be used.</param>
    /// <param name="shards">How shards are read; null is the default.</param>
    /// <param name="cancellationToken">Cancels the reading.</param>
    /// <exception cref="TrainingException">The source is missing, empty or unreadable, or every line is malformed.</exception>
    public static async Task<IReadOnlyList<Annotation>> ReadGoodAsync(string source, FaultLog faults, ShardOptions? shards = null, CancellationToken cancellationToken = default)
    {
        var (items, bad) = await ScanAsync(source, shards, cancellationToken).ConfigureAwait(false);
        foreach (var fault in bad)
            faults.Add(fault);
        return items.Count > 0 ? items : throw Invalid(bad);
    }

    /// <summary>Reads a source and collects the faults of its items.</summary>
    /// <exception cref="TrainingException">The source is missing, empty or unreadable.</exception>
    public static async Task<(IReadOnlyList<Annotation> Items, IReadOnlyList<DataFault> Faults)> ScanAsync(string source, ShardOptions? shards = null, CancellationToken cancellationToken = default) =>
        ShardAddress.IsShard(source)
            ? await ShardItems.ScanAsync(source, shards ?? new ShardOptions(), cancellationToken).ConfigureAwait(false)
            : AnnotationFile.Scan(source);

    private static TrainingException Invalid(IReadOnlyList<DataFault> faults) =>
        TrainingFault.LineInvalid(faults[0].File, faults[0].Line, faults[0].Error, faults.Count - 1, faults[0].Item);
}
