using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Data;

/// <summary>Opens data sets as batches.</summary>
public static class DataSources
{
    /// <summary>Videos and images, decoded in the background.</summary>
    /// <param name="options">Which and how they are cut.</param>
    /// <param name="plan">What decides the batches.</param>
    /// <param name="captions">Whether every item needs a caption.</param>
    /// <param name="faults">Told about bad items.</param>
    /// <param name="progress">Told how many items were looked at, or null.</param>
    /// <param name="cancellationToken">Stops the looking.</param>
    /// <exception cref="DataException">An option or a line is wrong, files are missing, or (nearly) nothing can be used.</exception>
    public static async Task<IBatchSource<ClipBatch>> OpenClipsAsync(DataOptions options, BatchPlanOptions plan, bool captions, FaultLog faults,
        IProgress<int>? progress = null, CancellationToken cancellationToken = default)
    {
        plan.Check();
        var data = await ScanClipsAsync(options, captions, faults, progress, cancellationToken).ConfigureAwait(false);
        data.Require(faults, options.SkipMissing);
        return OpenClips(data, options, plan, faults);
    }

    /// <summary>Videos and images that were looked at, decoded in the background.</summary>
    /// <param name="data">The items.</param>
    /// <param name="options">How they are cut.</param>
    /// <param name="plan">What decides the batches.</param>
    /// <param name="faults">Told about bad items.</param>
    /// <exception cref="DataException">An option is wrong, or there is no item.</exception>
    public static IBatchSource<ClipBatch> OpenClips(DataSet data, DataOptions options, BatchPlanOptions plan, FaultLog faults)
    {
        var reader = new ClipReader(options.Fps, options.RandomStart);
        return new PrefetchingSource<byte[], ClipBatch>(new BatchPlan(data, plan), new ItemLoader<byte[]>(reader.ReadAsync, faults, options.Workers), faults, options.Prefetch,
            (bucket, items) => new ClipBatch(bucket, [.. items.Select(i => i.Content)], Captions(items), Lines(items)));
    }

    /// <summary>Reads all clips of a data set, each from its first frame: few, to measure on. Bad ones are recorded and left out.</summary>
    /// <param name="data">The items.</param>
    /// <param name="options">How they are cut.</param>
    /// <param name="faults">Told about bad items.</param>
    /// <param name="cancellationToken">Stops the decoders.</param>
    public static async Task<IReadOnlyList<ClipBatch>> ReadClipsAsync(DataSet data, DataOptions options, FaultLog faults, CancellationToken cancellationToken = default)
    {
        var reader = new ClipReader(options.Fps, randomStart: false);
        var clips = new List<ClipBatch>();
        foreach (var (item, i) in data.Items.Select((item, i) => (item, i)))
        {
            try
            {
                var rgb = await reader.ReadAsync(item, new KeyedRandom(0, 0, i), cancellationToken).ConfigureAwait(false);
                clips.Add(new ClipBatch(item.Bucket, [rgb], [item.Annotation.Text ?? ""], [item.Annotation]));
            }
            catch (BadItemException e)
            {
                faults.Add(e.Fault(item.Annotation));
            }
        }

        return clips;
    }

    /// <summary>Latents that were extracted before, with captions or their features.</summary>
    /// <param name="options">Which and how they are cut.</param>
    /// <param name="plan">What decides the batches.</param>
    /// <param name="text">What is needed of the captions.</param>
    /// <param name="channels">Channels of the latents: 16 as released.</param>
    /// <param name="faults">Told about bad items.</param>
    /// <param name="progress">Told how many items were looked at, or null.</param>
    /// <param name="cancellationToken">Stops the looking.</param>
    /// <exception cref="DataException">An option or a line is wrong, files are missing, or (nearly) nothing can be used.</exception>
    public static async Task<IBatchSource<LatentBatch>> OpenLatentsAsync(DataOptions options, BatchPlanOptions plan, CaptionForm text, int channels,
        FaultLog faults, IProgress<int>? progress = null, CancellationToken cancellationToken = default)
    {
        plan.Check();
        var data = await ScanLatentsAsync(options, text, channels, faults, progress, cancellationToken).ConfigureAwait(false);
        data.Require(faults, options.SkipMissing);
        var reader = new LatentReader(text);
        return new PrefetchingSource<LatentItem, LatentBatch>(new BatchPlan(data, plan), new ItemLoader<LatentItem>(reader.ReadAsync, faults, options.Workers),
            faults, options.Prefetch, (bucket, items) => LatentReader.Batch(bucket, [.. items.Select(i => i.Content)], Captions(items), Lines(items)));
    }

    /// <summary>Looks at videos and images without decoding them; bad items are only recorded.</summary>
    /// <inheritdoc cref="OpenClipsAsync"/>
    public static Task<DataSet> ScanClipsAsync(DataOptions options, bool captions, FaultLog faults, IProgress<int>? progress = null, CancellationToken cancellationToken = default)
    {
        options.Check();
        var buckets = new Buckets(
            options.Sizes ?? throw new DataException("data: sizes is missing: give at least one, such as [\"640x384\"]"),
            options.Frames ?? throw new DataException("data: frames is missing: give at least one length, such as [121]"));
        var look = new ClipScanner(buckets, options.Fps, options.MostEnlarged, captions);
        return DataSet.ScanAsync(AnnotationFile.Read(options.Annotations), look, faults, options.Workers, progress, cancellationToken);
    }

    /// <summary>Looks at latents without reading their numbers; bad items are only recorded.</summary>
    /// <inheritdoc cref="OpenLatentsAsync"/>
    public static Task<DataSet> ScanLatentsAsync(DataOptions options, CaptionForm text, int channels, FaultLog faults,
        IProgress<int>? progress = null, CancellationToken cancellationToken = default)
    {
        options.Check();
        var sizes = options.Sizes is null ? null : new Buckets(options.Sizes, options.Frames ?? [1]);
        var look = new LatentScanner(channels, sizes, options.Frames, options.MaxFrames, text);
        return DataSet.ScanAsync(AnnotationFile.Read(options.Annotations), look, faults, options.Workers, progress, cancellationToken);
    }

    private static string[] Captions<T>(IReadOnlyList<(DataItem Item, T Content)> items) => [.. items.Select(i => i.Item.Annotation.Text ?? "")];

    private static Annotation[] Lines<T>(IReadOnlyList<(DataItem Item, T Content)> items) => [.. items.Select(i => i.Item.Annotation)];
}

/// <summary>Batches by step, read ahead in the background.</summary>
/// <typeparam name="T">A batch.</typeparam>
public interface IBatchSource<out T> : IDisposable
{
    /// <summary>What every step has.</summary>
    BatchPlan Plan { get; }

    /// <summary>The items that could not be used so far.</summary>
    FaultLog Faults { get; }

    /// <summary>
    /// The batch of a step: the same for the same step, whatever was asked before. Asking for steps one after another finds
    /// them read already. Its tensors belong to the caller's scope.
    /// </summary>
    /// <param name="step">From 0.</param>
    /// <param name="cancellationToken">Stops the waiting.</param>
    /// <exception cref="DataException">(Nearly) all items of the step's bucket turned out bad.</exception>
    T Batch(long step, CancellationToken cancellationToken = default);
}
