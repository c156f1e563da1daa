using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Output;
using PyramidFlow.Models;
using PyramidFlow.Media;
using PyramidFlow.Generation;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Batches;

/// <summary>What a batch asks for, checked item by item against a checkpoint.</summary>
internal sealed class BatchPlanner(BatchFile batch, GenerateArguments arguments, CheckpointFolder folder, RunReport report)
{
    // Fewer items take no time worth showing.
    private const int Shown = 1000;

    private readonly PipelineSettings settings = folder.Settings(arguments.Model.Variant);
    private readonly string output = arguments.Output!;

    /// <summary>Looks at every item before anything is made: reports the bad ones and leaves out what is finished.</summary>
    public async Task<List<BatchJob>> JobsAsync(ProgressLine line, CancellationToken cancel)
    {
        var jobs = new List<BatchJob>();
        var names = new FileNames();
        for (var i = 0; i < batch.Entries.Count; i++)
        {
            cancel.ThrowIfCancellationRequested();
            var entry = batch.Entries[i];
            if (i % Shown == Shown - 1)
                line.Update("looking at the batch", $"item {i + 1}/{batch.Entries.Count}", (double)i / batch.Entries.Count, TimeSpan.Zero);
            try
            {
                var item = Read(entry);
                var file = names.Next(i + 1, item, GenerationPlan.Extension(item.Clip, settings));
                foreach (var (copy, name) in OutputNames.Of(Path.Combine(output, file), arguments.Count, "").Index())
                {
                    var plan = Plan(item, copy, name);
                    if (await IsFinishedAsync(plan, cancel).ConfigureAwait(false))
                        report.Skipped(name);
                    else
                        jobs.Add(new BatchJob(i, copy, name));
                }
            }
            catch (Exception e) when (e is FormatException or UsageException or IOException or UnauthorizedAccessException)
            {
                line.Clear();
                report.Fault(batch.Where(entry), e);
            }
        }

        return jobs;
    }

    /// <summary>The plan of a job.</summary>
    public GenerationPlan Plan(BatchJob job) => Plan(Read(batch.Entries[job.Entry]), job.Copy, job.File);

    // A picture is named as seen from the batch file.
    private BatchItem Read(BatchEntry entry)
    {
        var item = batch.Read(entry);
        var clip = item.Clip;
        if (clip.ImageFile is { } image)
            clip = clip with { ImageFile = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(batch.Path))!, image) };
        clip = clip.Over(arguments.Clip);
        GenerationPlan.Check(clip);
        return item with { Clip = clip };
    }

    private GenerationPlan Plan(BatchItem item, int copy, string file) =>
        GenerationPlan.Of(item.Clip with { Seed = item.Clip.Seed + (ulong)copy }, file, settings);

    private async Task<bool> IsFinishedAsync(GenerationPlan plan, CancellationToken cancel)
    {
        if (!File.Exists(plan.Output))
            return false;
        try
        {
            var notes = GenerationNotes.Read(await MediaMetadata.ReadAsync(plan.Output, cancel).ConfigureAwait(false));
            return notes?.Fits(ClipNotes.Of(plan, folder, arguments.Model), plan.Clip.Seed is not null, arguments.Model.Type is not null,
                arguments.Model.Tile is not null || arguments.Model.MaxMemory is null) ?? false;
        }
        catch (Exception e) when (e is MediaException or MalformedTextException)
        {
            // A file that is no picture or video, or whose notes are damaged, is made again.
            return false;
        }
    }
}
