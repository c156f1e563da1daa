using System.Collections.Concurrent;
using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Data;

/// <summary>Checks a data set before training.</summary>
/// <param name="options">The items and how they are cropped.</param>
/// <param name="channels">Expected channels of latents.</param>
public sealed class DataCheck(DataOptions options, int channels)
{
    // Decode the first latent frames only: a whole clip takes the VAE a long time.
    private const int CellWidth = 160, MostCellHeight = 240, LatentFramesShown = 2;

    private readonly List<DataItem> usable = [];
    private readonly FaultLog warnings = new();

    /// <summary>Checks every line, header and shape; with <paramref name="decode"/> also every frame.</summary>
    /// <param name="tokenizer">Counts the tokens of captions; null omits that.</param>
    /// <param name="decode">Whether to decode every clip and read all latents.</param>
    /// <param name="progress">Reports the number of scanned items; null reports nothing.</param>
    /// <param name="cancellationToken">Cancels the operation.</param>
    /// <exception cref="TrainingException">An annotation file is missing or empty, or an option is invalid.</exception>
    public async Task<DataReport> RunAsync(T5Tokenizer? tokenizer, bool decode, IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellationToken = default)
    {
        options.Check();
        var faults = new FaultLog();
        var scanner = new CheckScanner(
            new ClipScanner(new Buckets(options.Sizes!, options.Frames!), options.Fps, options.MostEnlarged, captions: false),
            new LatentScanner(channels, sizes: null, lengths: null, options.MaxFrames, CaptionForm.None));
        var annotations = new List<Annotation>();
        foreach (var path in options.Annotations)
        {
            // A check looks at the data as they are now.
            var (items, bad) = await AnnotationSource.ScanAsync(path, options.Shards with { TakesChanges = true }, cancellationToken).ConfigureAwait(false);
            annotations.AddRange(items);
            foreach (var fault in bad)
                faults.Add(fault);
        }

        var lines = annotations.Count + faults.Faults.Count;
        var data = await DataSet.ScanAsync(annotations, scanner, faults, options.Workers, progress, cancellationToken).ConfigureAwait(false);
        var broken = decode ? await DecodeAsync(data.Items, faults, progress, cancellationToken).ConfigureAwait(false) : [];
        usable.Clear();
        usable.AddRange(data.Items.Where(item => !broken.ContainsKey(item)));
        return Report(lines, tokenizer, faults);
    }

    /// <summary>Reads frames of usable items, evenly spaced over the set, scaled to one small size.</summary>
    /// <param name="count">Largest number of items.</param>
    /// <param name="openVae">Opens the VAE of the latents, to decode the first 9 frames of items without video or image; null leaves those items out.</param>
    /// <param name="faults">Records items that turn out to be broken; they are left out.</param>
    /// <param name="cancellationToken">Cancels the decoding.</param>
    /// <returns>Each item with its frames, [t, h, w, 3] bytes, and the size of the frames.</returns>
    public async Task<(IReadOnlyList<(DataItem Item, byte[] Rgb)> Clips, int Width, int Height)> SamplesAsync(int count, Func<CausalVideoVae>? openVae, FaultLog faults, CancellationToken cancellationToken = default)
    {
        var shown = usable.Where(item => HasMedia(item) || (openVae is not null && item.Annotation.Latent is not null)).ToList();
        if (shown.Count == 0)
            return ([], 0, 0);
        var first = shown[0].Bucket;
        var height = Math.Clamp((int)Math.Round((double)CellWidth * first.Height / first.Width), 1, MostCellHeight);
        var reader = new ClipReader(options.Fps, randomStart: false);
        var clips = new List<(DataItem, byte[])>();
        using var vae = shown.TrueForAll(HasMedia) ? null : openVae?.Invoke();
        foreach (var item in Enumerable.Range(0, Math.Min(count, shown.Count)).Select(i => shown[(int)((long)i * shown.Count / Math.Min(count, shown.Count))]))
        {
            try
            {
                clips.Add((item, HasMedia(item)
                    ? await reader.ReadAsync(item with { Bucket = new Bucket(CellWidth, height, item.Bucket.Frames) }, new KeyedRandom(0), cancellationToken).ConfigureAwait(false)
                    : await DecodedAsync(item, vae!, height, cancellationToken).ConfigureAwait(false)));
            }
            catch (BadItemException e)
            {
                faults.Add(e.Fault(item.Annotation));
            }
        }

        return (clips, CellWidth, height);
    }

    private static bool HasMedia(DataItem item) => item.Annotation.Media is { } path && ItemFile.Exists(item.Annotation, path);

    private static async Task<byte[]> DecodedAsync(DataItem item, CausalVideoVae vae, int height, CancellationToken cancellationToken)
    {
        var frames = Math.Min(LatentFramesShown, VideoLength.Latents(item.Bucket.Frames));
        var numbers = await ItemFile.ReadAsync(item.Annotation, item.Annotation.Latent!, file => Task.FromResult(LatentItemFile.Read(file, frames)), cancellationToken).ConfigureAwait(false);
        return Decoded(item, numbers, frames, vae, height);
    }

    private static byte[] Decoded(DataItem item, float[] numbers, int frames, CausalVideoVae vae, int height)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var latents = Tensor.From(numbers, 1, vae.Config.EncoderOutChannels, frames, item.Bucket.Height / VideoLength.Scale, item.Bucket.Width / VideoLength.Scale);
        var video = vae.Decode(latents, window: 1);                                                             // [1, 3, t, h, w]
        var small = video.Select(0, 0).Permute(1, 0, 2, 3).InterpolateBilinear(height, CellWidth);              // [t, 3, h', w']
        return FrameBytes.Of(small.Permute(1, 0, 2, 3));
    }

    private async Task<ConcurrentDictionary<DataItem, bool>> DecodeAsync(IReadOnlyList<DataItem> items, FaultLog faults, IProgress<(int Done, int Total)>? progress, CancellationToken cancellationToken)
    {
        var broken = new ConcurrentDictionary<DataItem, bool>(ReferenceEqualityComparer.Instance);
        var clips = new ClipReader(options.Fps, options.RandomStart);
        var latents = new LatentReader(CaptionForm.None);
        var done = 0;
        await Parallel.ForEachAsync(items, new ParallelOptions { MaxDegreeOfParallelism = options.Workers, CancellationToken = cancellationToken }, async (item, ct) =>
        {
            try
            {
                if (item.Annotation.Latent is not null)
                    await latents.ReadAsync(item, new KeyedRandom(0), ct).ConfigureAwait(false);
                else if (await clips.CheckAsync(item, ct).ConfigureAwait(false) is { } warning)
                    warnings.Add(new(item.Annotation.File, item.Annotation.Line, DataFaultKind.Damaged, TrainingFault.PictureWarning(warning)));
            }
            catch (BadItemException e)
            {
                broken[item] = true;
                faults.Add(e.Fault(item.Annotation));
            }

            progress?.Report((Interlocked.Increment(ref done), items.Count));
        }).ConfigureAwait(false);
        return broken;
    }

    private DataReport Report(int lines, T5Tokenizer? tokenizer, FaultLog faults)
    {
        var annotations = usable.Select(item => item.Annotation).ToList();
        double[] seconds = [.. usable.Where(item => item.Seconds > 0).Select(item => item.Seconds).Order()];
        var lengths = tokenizer is null ? null
            : CaptionLengths.From(annotations.Where(line => line.Text is not null).Select(line => tokenizer.Encode(line.Text!, PromptEncoder.MaxTokens, pad: false).FullLength), PromptEncoder.MaxTokens);
        return new DataReport(lines, usable.Count, annotations.Count(line => line.Video is not null), annotations.Count(line => line.Image is not null),
            annotations.Count(line => line.Text is not null), annotations.Count(line => line.Latent is not null), annotations.Count(line => line.TextFeatures is not null),
            new DataSet(usable).Counts,
            seconds.Length == 0 ? null : (seconds[0], seconds[(seconds.Length - 1) / 2], seconds[^1], seconds.Sum()),
            lengths, ByLine(faults))
        { Warnings = ByLine(warnings) };
    }

    private static List<DataFault> ByLine(FaultLog log) => [.. log.Faults.OrderBy(fault => fault.File, StringComparer.Ordinal).ThenBy(fault => fault.Line)];
}

/// <summary>Scans all files of an item: media, latents and text features. If there are latents, they decide the bucket.</summary>
/// <param name="clips">Scans videos and images.</param>
/// <param name="latents">Scans latents.</param>
internal sealed class CheckScanner(ClipScanner clips, LatentScanner latents) : IItemScanner
{
    /// <inheritdoc/>
    public async ValueTask<DataItem> ScanAsync(Annotation annotation, CancellationToken cancellationToken)
    {
        // The media may be on another machine if there are latents.
        var media = annotation.Media is { } path && (annotation.Latent is null || ItemFile.Exists(annotation, path))
            ? await clips.ScanAsync(annotation, cancellationToken).ConfigureAwait(false)
            : null;
        if (annotation.TextFeatures is { } features)
            await ItemFile.ReadAsync(annotation, features, file => Task.FromResult(TextItemFile.Read(file)), cancellationToken).ConfigureAwait(false);
        if (annotation.Latent is null)
            return media ?? throw new BadItemException(DataFaultKind.Line, TrainingFault.NothingToTrainOn());
        var placed = await latents.ScanAsync(annotation, cancellationToken).ConfigureAwait(false);
        return media is null ? placed : media with { Bucket = placed.Bucket };
    }

    /// <inheritdoc/>
    /// <remarks>None: nothing is trained on, so that no change is looked for.</remarks>
    public IReadOnlyList<string?> Files(Annotation annotation) => [];
}

/// <summary>Contents of a data set.</summary>
/// <param name="Lines">Lines of the annotation files that are not blank.</param>
/// <param name="Usable">Items without a fault.</param>
/// <param name="Videos">Usable items with a video.</param>
/// <param name="Images">Usable items with an image.</param>
/// <param name="Captions">Usable items with a caption.</param>
/// <param name="Latents">Usable items with latents.</param>
/// <param name="TextFeatures">Usable items with text features.</param>
/// <param name="Buckets">Number of usable items in each bucket.</param>
/// <param name="Seconds">Durations of the usable videos: shortest, median, longest and sum; null if there are none.</param>
/// <param name="CaptionLengths">Lengths of the captions; null without a tokenizer or captions.</param>
/// <param name="Faults">All faults, by line.</param>
public sealed record DataReport(int Lines, int Usable, int Videos, int Images, int Captions, int Latents, int TextFeatures,
    IReadOnlyList<(Bucket Bucket, int Count)> Buckets, (double Shortest, double Median, double Longest, double Sum)? Seconds,
    CaptionLengths? CaptionLengths, IReadOnlyList<DataFault> Faults)
{
    /// <summary>Warnings about usable items, by line; only with decoding.</summary>
    public IReadOnlyList<DataFault> Warnings { get; init; } = [];
}

/// <summary>Lengths of captions in T5 tokens.</summary>
/// <param name="Shortest">Smallest length.</param>
/// <param name="Median">Median length.</param>
/// <param name="Longest">Largest length.</param>
/// <param name="Limit">Number of tokens that the model reads.</param>
/// <param name="Cut">Number of captions longer than the limit.</param>
public sealed record CaptionLengths(int Shortest, int Median, int Longest, int Limit, int Cut)
{
    /// <summary>Summarizes lengths; null if there are none.</summary>
    internal static CaptionLengths? From(IEnumerable<int> lengths, int limit)
    {
        int[] sorted = [.. lengths.Order()];
        return sorted.Length == 0 ? null
            : new CaptionLengths(sorted[0], sorted[(sorted.Length - 1) / 2], sorted[^1], limit, sorted.Count(length => length > limit));
    }
}
