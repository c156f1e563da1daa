using System.Globalization;
using System.Threading.Channels;
using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>
/// Extracts the latents of a data set: one file per item, and an annotation file that names them. Existing files that were made
/// from the same inputs are kept, so that a stopped extraction resumes.
/// </summary>
/// <param name="vae">The encoder.</param>
/// <param name="options">Sizes, lengths and encoder options.</param>
/// <param name="faults">Records unusable items; they are left out of the new annotation file.</param>
public sealed class LatentExtraction(CausalVideoVae vae, LatentExtractionOptions options, FaultLog faults)
{
    /// <summary>Identity of the encoder (<see cref="SourceModel"/>), which the files hold; null writes none.</summary>
    internal string? Encoder { get; init; }

    private sealed record Job(DataItem Item, string Path, string MadeFrom);

    /// <summary>Runs the extraction.</summary>
    /// <param name="target">Input and output.</param>
    /// <param name="progress">Reports every item; null reports nothing.</param>
    /// <param name="cancellationToken">Stops between two items; finished files are kept.</param>
    /// <exception cref="TrainingException">The annotations or options are invalid, or nearly no item is usable.</exception>
    public async Task<ExtractionResult> RunAsync(ExtractionTarget target, IProgress<ExtractionProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        target.Check();
        if (options.Window < 1 || options.Window % vae.Config.TemporalScale != 0)
            throw TrainingFault.WindowNotMultiple(options.Window, vae.Config.TemporalScale);
        var scanner = new ClipScanner(new Buckets(options.Sizes, options.Lengths()), options.Fps, options.MostEnlarged, captions: false);
        var annotations = await AnnotationSource.ReadGoodAsync(target.Annotations, faults, options.Shards, cancellationToken).ConfigureAwait(false);
        var mine = annotations.Where((_, i) => target.Has(i)).ToList();
        var data = await DataSet.ScanAsync(mine, scanner, faults, options.Workers, progress is null ? null : new DelegateProgress<(int Done, int Total)>(scanned => progress.Report(new ExtractionProgress("scanning", scanned.Done, scanned.Total))), cancellationToken).ConfigureAwait(false);
        data.Require(faults, skipMissing: true, skipLines: true);

        var jobs = Jobs(data, target);
        var open = jobs.AsParallel().AsOrdered().WithCancellation(cancellationToken).WithDegreeOfParallelism(Math.Clamp(options.Workers, 1, 64))
            .Where(job => !Provenance.IsFinished(job.Path, job.MadeFrom, LatentItemFile.Check)).ToList();
        await EncodeAsync(open, progress, cancellationToken).ConfigureAwait(false);
        var bad = faults.Faults.Select(fault => (fault.File, fault.Line)).ToHashSet();
        var good = jobs.Where(job => !bad.Contains(Place(job))).ToDictionary(Place, job => job.Path);
        if (good.Count == 0 && mine.Count > 0)
            throw TrainingFault.NoneUsable(faults.Faults[0].ToString(), faults.Faults[0].Error);
        var lines = target.Parts > 1 ? (int?)null : AnnotationRewriter.Write(target.Annotations, annotations, target.Output, "latent", good);
        var made = open.Count(job => !bad.Contains(Place(job)));
        return new ExtractionResult(made, jobs.Count - open.Count, lines, []);
    }

    private static (string File, int Line) Place(Job job) => (job.Item.Annotation.File, job.Item.Annotation.Line);

    // File names contain the media name and a fingerprint of all other inputs; identical lines share a file.
    private List<Job> Jobs(DataSet data, ExtractionTarget target)
    {
        var folder = target.MakeFolder("latents");
        var encoder = Fingerprint.Compute(vae);
        return [.. data.Items.Select(item =>
        {
            var media = item.Annotation.Media!;
            var identity = Fingerprint.Compute(NameOf(item.Annotation, target), string.Join(',', item.Annotation.Frames ?? []), options.Identity(item.Bucket), encoder);
            var path = Path.Combine(folder, $"{Path.GetFileNameWithoutExtension(media)}-{identity}.safetensors");
            return new Job(item, path, Fingerprint.Compute(identity, ItemFile.Length(item.Annotation, media).ToString(CultureInfo.InvariantCulture)));
        })];
    }

    // Data may move with their folder, and shards to another place.
    private static string NameOf(Annotation annotation, ExtractionTarget target) => annotation.Packed is null
        ? Path.GetRelativePath(AnnotationFile.FolderOf(target.Annotations), annotation.Media!)
        : $"{Path.GetFileName(annotation.File)}{annotation.Media![annotation.File.Length..]}";

    // Decoders fill a bounded queue that the encoder empties.
    private async Task EncodeAsync(List<Job> open, IProgress<ExtractionProgress>? progress, CancellationToken cancellationToken)
    {
        var encoder = new LatentEncoder(vae, options, Encoder);
        var queue = Channel.CreateBounded<(Job Job, byte[] Rgb)>(options.Workers);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var decoding = DecodeAsync([.. open.DistinctBy(job => job.Path)], queue.Writer, stop.Token);
        try
        {
            var done = 0;
            await foreach (var (job, rgb) in queue.Reader.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                encoder.Write(rgb, job.Item.Bucket, job.Path, job.MadeFrom);
                progress?.Report(new ExtractionProgress("encoding", ++done, open.Count));
            }
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await decoding.ConfigureAwait(false);
        }
    }

    // Exceptions are passed to the reader of the queue.
    private async Task DecodeAsync(List<Job> jobs, ChannelWriter<(Job Job, byte[] Rgb)> queue, CancellationToken cancellationToken)
    {
        var reader = new ClipReader(options.Fps, randomStart: false);
        try
        {
            await Parallel.ForEachAsync(jobs, new ParallelOptions { MaxDegreeOfParallelism = options.Workers, CancellationToken = cancellationToken }, async (job, ct) =>
            {
                try
                {
                    await queue.WriteAsync((job, await reader.ReadAsync(job.Item, new KeyedRandom(0), ct).ConfigureAwait(false)), ct).ConfigureAwait(false);
                }
                catch (BadItemException e)
                {
                    faults.Add(e.Fault(job.Item.Annotation));
                }
            }).ConfigureAwait(false);
            queue.Complete();
        }
        catch (Exception e)
        {
            queue.Complete(e);
        }
    }
}

/// <summary>Options of a latent extraction.</summary>
public sealed record LatentExtractionOptions
{
    /// <summary>Sizes such as <c>640x384</c>; an item uses the one with the nearest aspect ratio.</summary>
    public IReadOnlyList<string> Sizes { get; init; } = ["640x384"];

    /// <summary>Longest clip in frames, 1 + a multiple of 8; shorter videos use as many frames as fit.</summary>
    public int Frames { get; init; } = 121;

    /// <summary>Shortest accepted video in frames; the default of 9 is one unit.</summary>
    public int FewestFrames { get; init; } = 1 + VideoLength.Scale;

    /// <summary>Frame rate that videos are resampled to; null keeps the stored frames.</summary>
    public double? Fps { get; init; } = 24;

    /// <summary>Largest upscaling factor of an original.</summary>
    public double MostEnlarged { get; init; } = 4;

    /// <summary>Frames to encode at a time after the first, a multiple of 8; bounds the memory.</summary>
    public int Window { get; init; } = 16;

    /// <summary>Tiling of the encoder; null encodes whole frames.</summary>
    public TileOptions? Tiles { get; init; }

    /// <summary>Whether latents are sampled from the posterior, as released; otherwise they are its means.</summary>
    public bool Sample { get; init; } = true;

    /// <summary>Seed of the samples; every item has its own random sequence.</summary>
    public ulong Seed { get; init; }

    /// <summary>Element type of the files.</summary>
    public ElementType StoredType { get; init; } = ElementType.BFloat16;

    /// <summary>Number of items that are decoded in parallel while another one is encoded.</summary>
    public int Workers { get; init; } = 2;

    /// <summary>How shards are read.</summary>
    internal ShardOptions Shards { get; init; } = new();

    /// <summary>Identifies the options that change the latents.</summary>
    internal string Identity(Bucket bucket) => FormattableString.Invariant(
        $"{bucket}, fps {Fps}, tiles {Tiles?.Size} {Tiles?.Overlap} {Tiles?.Blend}, {(Sample ? $"seed {Seed}" : "means")}, {StoredType}");

    /// <summary>All possible lengths of a clip.</summary>
    internal IReadOnlyList<int> Lengths()
    {
        if (Frames < 1 || VideoLength.Fitting(Frames) != Frames)
            throw TrainingFault.FramesNotEncodable(Frames, VideoLength.Fitting(Math.Max(1, Frames)), VideoLength.Fitting(Math.Max(1, Frames)) + VideoLength.Scale);
        var fewest = Math.Min(Frames, Math.Max(1, FewestFrames));
        return [.. Enumerable.Range(0, VideoLength.Latents(Frames)).Select(i => VideoLength.OfLatents(i + 1)).Where(length => length >= fewest)];
    }
}

/// <summary>Encodes decoded clips window by window.</summary>
/// <param name="vae">The encoder.</param>
/// <param name="options">Encoder options.</param>
/// <param name="identity">Identity of the encoder, which the files hold; null writes none.</param>
internal sealed class LatentEncoder(CausalVideoVae vae, LatentExtractionOptions options, string? identity)
{
    /// <summary>Encodes a clip and writes its latents.</summary>
    /// <param name="rgb">[frames, height, width, 3].</param>
    /// <param name="bucket">Size and length of the clip.</param>
    /// <param name="path">File to write.</param>
    /// <param name="madeFrom">Fingerprint of the inputs.</param>
    /// <exception cref="NonFiniteException">The VAE returned non-finite numbers; nothing is written.</exception>
    public void Write(byte[] rgb, Bucket bucket, string path, string madeFrom)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var posterior = new DiagonalGaussian(Moments(rgb, bucket));
        var latent = options.Sample ? Drawn(posterior, path) : posterior.Mode;                         // [1, c, t, h, w]
        var stored = latent.To(options.StoredType).To(Device.Cpu);
        if (!stored.AllFinite())
            throw NotFinite(latent, path);
        LatentItemFile.Write(path, stored, Provenance.Metadata(madeFrom, identity));
    }

    private NonFiniteException NotFinite(Tensor latent, string path) => new(ModelPart.Vae, $"when {Path.GetFileName(path)} was to be written",
        latent.AllFinite() ? TrainingFault.LatentsOverflow(options.StoredType) : null);

    private Tensor Drawn(DiagonalGaussian posterior, string path)
    {
        using var generator = new RandomGenerator(Fingerprint.Seed(options.Seed, Path.GetFileName(path)));
        return posterior.Sample(generator);
    }

    // Only one window is in memory as float pixels and activations.
    private Tensor Moments(byte[] rgb, Bucket bucket)
    {
        using var stream = vae.EncodeStream(options.Tiles);
        var weight = vae.LastWeight.Value;
        var frameBytes = bucket.Width * bucket.Height * 3;
        var pieces = new List<Tensor>();
        for (int start = 0, end = Math.Min(options.Window + 1, bucket.Frames); start < bucket.Frames; (start, end) = (end, Math.Min(end + options.Window, bucket.Frames)))
        {
            using var window = new TensorScope();
            var pixels = FrameBytes.ToPixels(rgb.AsSpan(start * frameBytes, (end - start) * frameBytes), bucket.Width, bucket.Height);
            pieces.Add(window.Keep(stream.Push(pixels.To(weight.Device).To(weight.Type), isEnd: end == bucket.Frames)));            // [1, 2c, t', h, w]
        }

        return pieces.Count == 1 ? pieces[0] : Tensor.Cat([.. pieces], 2);
    }
}
