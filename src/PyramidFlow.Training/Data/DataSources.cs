namespace PyramidFlow.Training.Data;

/// <summary>Opens data sets as sources of batches.</summary>
internal static class DataSources
{
    /// <summary>Scans videos and images, and opens them as batches that are decoded in the background.</summary>
    /// <param name="options">The items and how they are cropped.</param>
    /// <param name="plan">Inputs of the batch plan.</param>
    /// <param name="captions">Whether every item needs a caption.</param>
    /// <param name="faults">Records bad items.</param>
    /// <param name="progress">Reports the number of scanned items; null reports nothing.</param>
    /// <param name="cancellationToken">Cancels the scan.</param>
    /// <exception cref="TrainingException">An option or a line is wrong, files are missing, or nearly nothing is usable.</exception>
    public static async Task<IBatchSource<ClipBatch>> OpenClipsAsync(DataOptions options, BatchPlanOptions plan, bool captions, FaultLog faults,
        IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellationToken = default)
    {
        plan.Check();
        var data = await ScanClipsAsync(options, captions, faults, progress, cancellationToken).ConfigureAwait(false);
        data.Require(faults, options.SkipMissing);
        return OpenClips(data, options, plan, faults);
    }

    /// <summary>Opens scanned videos and images as batches that are decoded in the background.</summary>
    /// <param name="data">The scanned items.</param>
    /// <param name="options">How the items are cropped.</param>
    /// <param name="plan">Inputs of the batch plan.</param>
    /// <param name="faults">Records bad items.</param>
    /// <exception cref="TrainingException">An option is invalid, or there is no item.</exception>
    public static IBatchSource<ClipBatch> OpenClips(DataSet data, DataOptions options, BatchPlanOptions plan, FaultLog faults)
    {
        var reader = new ClipReader(options.Fps, options.RandomStart);
        return new PrefetchingSource<byte[], ClipBatch>(new BatchPlan(data, plan), new ItemLoader<byte[]>(reader.ReadAsync, faults, options.Workers), faults, options.Prefetch,
            (bucket, items) => new ClipBatch(bucket, [.. items.Select(i => i.Content)], Captions(items), Lines(items)));
    }

    /// <summary>Reads all clips of a small data set, each from its first frame, for evaluation. Bad items are recorded and left out.</summary>
    /// <param name="data">The scanned items.</param>
    /// <param name="options">How the items are cropped.</param>
    /// <param name="faults">Records bad items.</param>
    /// <param name="cancellationToken">Cancels the decoders.</param>
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

    /// <summary>Scans extracted latents, with captions or their features, and opens them as batches.</summary>
    /// <param name="options">The items and how they are cut.</param>
    /// <param name="plan">Inputs of the batch plan.</param>
    /// <param name="text">What is needed of the captions.</param>
    /// <param name="channels">Channels of the latents; 16 as released.</param>
    /// <param name="faults">Records bad items.</param>
    /// <param name="progress">Reports the number of scanned items; null reports nothing.</param>
    /// <param name="cancellationToken">Cancels the scan.</param>
    /// <exception cref="TrainingException">An option or a line is wrong, files are missing, or nearly nothing is usable.</exception>
    public static async Task<IBatchSource<LatentBatch>> OpenLatentsAsync(DataOptions options, BatchPlanOptions plan, CaptionForm text, int channels,
        FaultLog faults, IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellationToken = default)
    {
        plan.Check();
        var data = await ScanLatentsAsync(options, text, channels, faults, progress, cancellationToken).ConfigureAwait(false);
        data.Require(faults, options.SkipMissing);
        return OpenLatents(data, options, plan, text, faults);
    }

    /// <summary>Opens scanned latents as batches that are read in the background.</summary>
    /// <param name="data">The scanned items.</param>
    /// <param name="options">How the items are read.</param>
    /// <param name="plan">Inputs of the batch plan.</param>
    /// <param name="text">What is needed of the captions.</param>
    /// <param name="faults">Records bad items.</param>
    /// <exception cref="TrainingException">An option is invalid, or there is no item.</exception>
    public static IBatchSource<LatentBatch> OpenLatents(DataSet data, DataOptions options, BatchPlanOptions plan, CaptionForm text, FaultLog faults)
    {
        var reader = new LatentReader(text, options.Encoders.Text);
        return new PrefetchingSource<LatentItem, LatentBatch>(new BatchPlan(data, plan), new ItemLoader<LatentItem>(reader.ReadAsync, faults, options.Workers),
            faults, options.Prefetch, (bucket, items) => LatentReader.Batch(bucket, [.. items.Select(i => i.Content)], Captions(items), Lines(items)));
    }

    /// <summary>Scans videos and images without decoding them; records bad items.</summary>
    /// <param name="options">The items and how they are cropped.</param>
    /// <param name="captions">Whether every item needs a caption.</param>
    /// <param name="faults">Records bad items.</param>
    /// <param name="progress">Reports the number of scanned items; null reports nothing.</param>
    /// <param name="cancellationToken">Cancels the scan.</param>
    /// <param name="annotations">The lines of the items where they were read before; null reads them.</param>
    /// <exception cref="TrainingException">An option or a line is wrong.</exception>
    public static async Task<DataSet> ScanClipsAsync(DataOptions options, bool captions, FaultLog faults, IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellationToken = default,
        IReadOnlyList<Annotation>? annotations = null)
    {
        options.Check();
        var buckets = new Buckets(
            options.Sizes ?? throw TrainingFault.SizesMissing(),
            options.Frames ?? throw TrainingFault.LengthsMissing());
        var scanner = new ClipScanner(buckets, options.Fps, options.MostEnlarged, captions);
        annotations ??= await AnnotationSource.ReadAsync(faults, options.Annotations, options.Shards, cancellationToken).ConfigureAwait(false);
        return await DataSet.ScanAsync(annotations, scanner, faults, options.Workers, progress, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Scans latents without reading their data; records bad items.</summary>
    /// <param name="options">The items and how they are cut.</param>
    /// <param name="text">What is needed of the captions.</param>
    /// <param name="channels">Channels of the latents; 16 as released.</param>
    /// <param name="faults">Records bad items.</param>
    /// <param name="progress">Reports the number of scanned items; null reports nothing.</param>
    /// <param name="cancellationToken">Cancels the scan.</param>
    /// <param name="annotations">The lines of the items where they were read before; null reads them.</param>
    /// <exception cref="TrainingException">An option or a line is wrong.</exception>
    public static async Task<DataSet> ScanLatentsAsync(DataOptions options, CaptionForm text, int channels, FaultLog faults,
        IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellationToken = default, IReadOnlyList<Annotation>? annotations = null)
    {
        options.Check();
        var sizes = options.Sizes is null ? null : new Buckets(options.Sizes, options.Frames ?? [1]);
        var scanner = new LatentScanner(channels, sizes, options.Frames, options.MaxFrames, text, options.Encoders.Vae);
        annotations ??= await AnnotationSource.ReadAsync(faults, options.Annotations, options.Shards, cancellationToken).ConfigureAwait(false);
        return await DataSet.ScanAsync(annotations, scanner, faults, options.Workers, progress, cancellationToken).ConfigureAwait(false);
    }

    private static string[] Captions<T>(IReadOnlyList<(DataItem Item, T Content)> items) => [.. items.Select(i => i.Item.Annotation.Text ?? "")];

    private static Annotation[] Lines<T>(IReadOnlyList<(DataItem Item, T Content)> items) => [.. items.Select(i => i.Item.Annotation)];
}

/// <summary>Batches by step, prefetched in the background.</summary>
/// <typeparam name="T">Type of a batch.</typeparam>
internal interface IBatchSource<out T> : IDisposable
{
    /// <summary>The plan of all batches.</summary>
    BatchPlan Plan { get; }

    /// <summary>The bad items so far.</summary>
    FaultLog Faults { get; }

    /// <summary>
    /// Returns the batch of a step, which does not depend on earlier requests. Consecutive steps are prefetched.
    /// The tensors belong to the caller's scope.
    /// </summary>
    /// <param name="step">Step, from 0.</param>
    /// <param name="cancellationToken">Cancels the wait.</param>
    /// <exception cref="TrainingException">Nearly all items of the bucket are bad.</exception>
    T Batch(long step, CancellationToken cancellationToken = default);
}
