using System.Globalization;
using System.Threading.Channels;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Data.Extracting;

/// <summary>
/// Makes the latents of a data set: one file for each item, and an annotation file that names them. Files that are there
/// and were made from the same are left alone, so that a run that was stopped goes on.
/// </summary>
/// <param name="vae">The encoder.</param>
/// <param name="options">How.</param>
/// <param name="faults">Told about items that cannot be used; they are left out of the new annotation file.</param>
public sealed class LatentExtraction(CausalVideoVae vae, LatentExtractionOptions options, FaultLog faults)
{
    private sealed record Job(DataItem Item, string Path, string MadeFrom);

    /// <summary>Runs it.</summary>
    /// <param name="target">What to read and write.</param>
    /// <param name="progress">Told about every item, or null.</param>
    /// <param name="cancel">Stops it between windows of two items; finished files stay.</param>
    /// <exception cref="DataException">The annotations or options are wrong, or (nearly) no item can be used.</exception>
    public async Task<ExtractionResult> RunAsync(ExtractionTarget target, IProgress<ExtractionProgress>? progress = null, CancellationToken cancel = default)
    {
        target.Check();
        if (options.Window < 1 || options.Window % vae.Config.TemporalScale != 0)
            throw new DataException($"a window of {options.Window} frames is not a multiple of {vae.Config.TemporalScale}");
        var look = new ClipLook(new Buckets(options.Sizes, options.Lengths()), options.Fps, options.MostEnlarged, captions: false);
        var annotations = AnnotationFile.ReadGood(target.Annotations, faults);
        var mine = annotations.Where((_, i) => target.Has(i)).ToList();
        var data = await DataSet.LookAsync(mine, look, faults, options.Workers, progress is null ? null : new Looking(progress, mine.Count), cancel).ConfigureAwait(false);
        data.Require(faults, skipMissing: true, skipLines: true);

        var jobs = Jobs(data, target);
        var open = jobs.AsParallel().AsOrdered().WithCancellation(cancel).WithDegreeOfParallelism(Math.Clamp(options.Workers, 1, 64))
            .Where(job => !MadeFile.IsFinished(job.Path, job.MadeFrom, LatentItemFile.Check)).ToList();
        await EncodeAsync(open, progress, cancel).ConfigureAwait(false);
        var bad = faults.Faults.Select(fault => fault.Line).ToHashSet();
        var good = jobs.Where(job => !bad.Contains(job.Item.Annotation.Line)).ToDictionary(job => job.Item.Annotation.Line, job => job.Path);
        if (good.Count == 0 && mine.Count > 0)
            throw new DataException($"none of the items could be used, such as {faults.Faults[0]}");
        var lines = target.Parts > 1 ? (int?)null : AnnotationRewriter.Write(target.Annotations, target.Output, "latent", good);
        var made = open.Count(job => !bad.Contains(job.Item.Annotation.Line));
        return new ExtractionResult(made, jobs.Count - open.Count, lines, []);
    }

    // Named after the media file and what else tells two lines apart; lines that agree in all share a file.
    private List<Job> Jobs(DataSet data, ExtractionTarget target)
    {
        var folder = target.MakeFolder("latents");
        var encoder = Fingerprint.Of(vae);
        var from = Path.GetDirectoryName(Path.GetFullPath(target.Annotations))!;
        return [.. data.Items.Select(item =>
        {
            var media = item.Annotation.Media!;
            var identity = Fingerprint.Of(Path.GetRelativePath(from, media), string.Join(',', item.Annotation.Frames ?? []), options.Identity(item.Bucket), encoder);
            var path = Path.Combine(folder, $"{Path.GetFileNameWithoutExtension(media)}-{identity}.safetensors");
            return new Job(item, path, Fingerprint.Of(identity, new FileInfo(media).Length.ToString(CultureInfo.InvariantCulture)));
        })];
    }

    // Decoders fill a short queue, the encoder empties it.
    private async Task EncodeAsync(List<Job> open, IProgress<ExtractionProgress>? progress, CancellationToken cancel)
    {
        var encoder = new LatentEncoder(vae, options);
        var queue = Channel.CreateBounded<(Job Job, byte[] Rgb)>(options.Workers);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var decoding = DecodeAsync([.. open.DistinctBy(job => job.Path)], queue.Writer, stop.Token);
        try
        {
            var done = 0;
            await foreach (var (job, rgb) in queue.Reader.ReadAllAsync(cancel).ConfigureAwait(false))
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

    // What stops it is handed to the reader of the queue.
    private async Task DecodeAsync(List<Job> jobs, ChannelWriter<(Job Job, byte[] Rgb)> queue, CancellationToken cancel)
    {
        var reader = new ClipReader(options.Fps, randomStart: false);
        try
        {
            await Parallel.ForEachAsync(jobs, new ParallelOptions { MaxDegreeOfParallelism = options.Workers, CancellationToken = cancel }, async (job, ct) =>
            {
                try
                {
                    await queue.WriteAsync((job, await reader.ReadAsync(job.Item, new SpriteRandom(0), ct).ConfigureAwait(false)), ct).ConfigureAwait(false);
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

    private sealed class Looking(IProgress<ExtractionProgress> progress, int total) : IProgress<int>
    {
        public void Report(int value) => progress.Report(new ExtractionProgress("looking", value, total));
    }
}
