using System.Collections.Concurrent;
using PyramidFlow.Generation;
using PyramidFlow.Models.Text;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Models.Vae;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Data;

/// <summary>Looks a data set over before it is trained on.</summary>
/// <param name="options">Which and how items are cut.</param>
/// <param name="channels">Channels latents have.</param>
public sealed class DataCheck(DataOptions options, int channels)
{
    // Of latents the beginning is decoded: a VAE takes long for a whole clip.
    private const int CellWidth = 160, MostCellHeight = 240, LatentFramesShown = 2;

    private readonly List<DataItem> usable = [];
    private readonly FaultLog warnings = new();

    /// <summary>Looks at every line, header and shape; with <paramref name="decode"/> at every frame too.</summary>
    /// <param name="tokenizer">Counts tokens of captions; null leaves that out.</param>
    /// <param name="decode">Whether every clip is decoded and every latent read.</param>
    /// <param name="progress">Told how many items were looked at, or null.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="DataException">An annotation file is missing or empty, or an option is impossible.</exception>
    public async Task<DataReport> RunAsync(T5Tokenizer? tokenizer, bool decode, IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellationToken = default)
    {
        options.Check();
        var faults = new FaultLog();
        var look = new CheckScanner(
            new ClipScanner(new Buckets(options.Sizes!, options.Frames!), options.Fps, options.MostEnlarged, captions: false),
            new LatentScanner(channels, sizes: null, lengths: null, options.MaxFrames, CaptionForm.None));
        var annotations = new List<Annotation>();
        foreach (var path in options.Annotations)
        {
            var (items, bad) = AnnotationFile.Scan(path);
            annotations.AddRange(items);
            foreach (var fault in bad)
                faults.Add(fault);
        }

        var lines = annotations.Count + faults.Faults.Count;
        var data = await DataSet.ScanAsync(annotations, look, faults, options.Workers, progress is null ? null : new Counted(progress, annotations.Count), cancellationToken).ConfigureAwait(false);
        var broken = decode ? await DecodeAsync(data.Items, faults, progress, cancellationToken).ConfigureAwait(false) : [];
        usable.Clear();
        usable.AddRange(data.Items.Where(item => !broken.ContainsKey(item)));
        return Report(lines, tokenizer, faults);
    }

    /// <summary>Frames of some usable items, spread evenly over the set, small and all of one size.</summary>
    /// <param name="count">Most items.</param>
    /// <param name="openVae">Opens the VAE that the latents are of, to show those that stand without video or image, their first 9 frames; null leaves them out.</param>
    /// <param name="faults">Told about items that turn out broken; they are left out.</param>
    /// <param name="cancellationToken">Stops the decoding.</param>
    /// <returns>Each item, its frames as [t, h, w, 3] bytes, and their size.</returns>
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
                    : Decoded(item, vae!, height)));
            }
            catch (BadItemException e)
            {
                faults.Add(e.Fault(item.Annotation));
            }
        }

        return (clips, CellWidth, height);
    }

    private static bool HasMedia(DataItem item) => item.Annotation.Media is { } path && File.Exists(path);

    private static byte[] Decoded(DataItem item, CausalVideoVae vae, int height)
    {
        var frames = Math.Min(LatentFramesShown, VideoLength.Latents(item.Bucket.Frames));
        var numbers = LatentItemFile.Read(item.Annotation.Latent!, frames);
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
                    warnings.Add(new(item.Annotation.File, item.Annotation.Line, DataFaultKind.Damaged, warning));
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
            lengths, ByLine(faults)) { Warnings = ByLine(warnings) };
    }

    private static List<DataFault> ByLine(FaultLog log) => [.. log.Faults.OrderBy(fault => fault.File, StringComparer.Ordinal).ThenBy(fault => fault.Line)];

    private sealed class Counted(IProgress<(int Done, int Total)> progress, int total) : IProgress<int>
    {
        public void Report(int value) => progress.Report((value, total));
    }
}

/// <summary>Looks at everything an item names: media, latents and text features. Latents decide the bucket where there are some.</summary>
/// <param name="clips">Looks at videos and images.</param>
/// <param name="latents">Looks at latents.</param>
internal sealed class CheckScanner(ClipScanner clips, LatentScanner latents) : IItemScanner
{
    /// <inheritdoc/>
    public async ValueTask<DataItem> ScanAsync(Annotation annotation, CancellationToken cancellationToken)
    {
        // Media may have stayed on the machine where the latents were made.
        var media = annotation.Media is { } path && (annotation.Latent is null || File.Exists(path))
            ? await clips.ScanAsync(annotation, cancellationToken).ConfigureAwait(false)
            : null;
        if (annotation.TextFeatures is { } features)
            TextItemFile.Read(features);
        if (annotation.Latent is null)
            return media ?? throw new BadItemException(DataFaultKind.Line, "it has none of video, image and latent: there is nothing to train on");
        var placed = await latents.ScanAsync(annotation, cancellationToken).ConfigureAwait(false);
        return media is null ? placed : media with { Bucket = placed.Bucket };
    }
}

/// <summary>What a data set holds.</summary>
/// <param name="Lines">Lines of the annotation files that are not blank.</param>
/// <param name="Usable">Items without a fault.</param>
/// <param name="Videos">Usable items with a video.</param>
/// <param name="Images">Usable items with an image.</param>
/// <param name="Captions">Usable items with a caption.</param>
/// <param name="Latents">Usable items with latents.</param>
/// <param name="TextFeatures">Usable items with text features.</param>
/// <param name="Buckets">How many usable items each bucket has.</param>
/// <param name="Seconds">Durations of the usable videos: shortest, median, longest and sum; null when there are none.</param>
/// <param name="CaptionLengths">Lengths of the captions; null when no tokenizer was given or there are none.</param>
/// <param name="Faults">Every fault, by line.</param>
public sealed record DataReport(int Lines, int Usable, int Videos, int Images, int Captions, int Latents, int TextFeatures,
    IReadOnlyList<(Bucket Bucket, int Count)> Buckets, (double Shortest, double Median, double Longest, double Sum)? Seconds,
    CaptionLengths? CaptionLengths, IReadOnlyList<DataFault> Faults)
{
    /// <summary>What is wrong with items that can be used all the same, by line; only known of what was decoded.</summary>
    public IReadOnlyList<DataFault> Warnings { get; init; } = [];
}

/// <summary>Lengths of captions in tokens of the model's T5.</summary>
/// <param name="Shortest">The fewest.</param>
/// <param name="Median">Half of the captions have no more.</param>
/// <param name="Longest">The most.</param>
/// <param name="Limit">Tokens the model reads.</param>
/// <param name="Cut">Captions that are longer than that.</param>
public sealed record CaptionLengths(int Shortest, int Median, int Longest, int Limit, int Cut)
{
    /// <summary>Of some lengths; null when there are none.</summary>
    internal static CaptionLengths? From(IEnumerable<int> lengths, int limit)
    {
        int[] sorted = [.. lengths.Order()];
        return sorted.Length == 0 ? null
            : new CaptionLengths(sorted[0], sorted[(sorted.Length - 1) / 2], sorted[^1], limit, sorted.Count(length => length > limit));
    }
}
