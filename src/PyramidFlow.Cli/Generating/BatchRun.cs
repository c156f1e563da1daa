using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Generating;

/// <summary>One run of <c>generate --batch</c>.</summary>
internal sealed class BatchRun(CliConsole console)
{
    /// <summary>
    /// Makes what is not made yet; an item that fails is reported and the rest goes on. Several processes make each clip together: rank zero decides what is to be made,
    /// and a clip that fails after it has begun ends the run, because the others cannot know where.
    /// </summary>
    public async Task<int> RunAsync(string file, GenerateArguments arguments, CancellationToken cancellationToken)
    {
        Check(arguments);
        var output = arguments.Output ?? throw CommandFault.BatchWithoutFolder(OutputFile.Stem);
        if (File.Exists(output) || (OutputFile.Extensions.Contains(Path.GetExtension(output).ToLowerInvariant()) && !Directory.Exists(output)))
            throw CommandFault.BatchIntoFile(output);
        var batch = BatchFile.Open(file);
        var folder = arguments.Model.Open();

        return await SharedRun.OfAsync(arguments.Model, console, (model, own, line) =>
            new BatchRun(own).MakeAllAsync(batch, arguments with { Model = model, Output = output }, folder, line, cancellationToken), cancellationToken).ConfigureAwait(false);
    }

    private async Task<int> MakeAllAsync(BatchFile batch, GenerateArguments arguments, CheckpointFolder folder, ProgressLine line, CancellationToken cancellationToken)
    {
        var group = arguments.Model.Group;
        using var maker = new ClipMaker(arguments.Model, folder, console);
        var report = new RunReport(console, arguments.Json, arguments.Verbose);
        var planner = new BatchPlanner(batch, arguments, folder, report);
        var jobs = arguments.Model.IsFollower ? [] : await planner.JobsAsync(line, cancellationToken).ConfigureAwait(false);
        if (group is not null)
            jobs = BatchJob.OfFirst(group, jobs);
        try
        {
            if (jobs.Count > 0 && !arguments.Model.IsFollower)
                OutputFile.MakeFolder(arguments.Output!);
            foreach (var (i, job) in jobs.Index())
            {
                var monitor = new GenerationMonitor(line, i, jobs.Count);
                maker.Load(monitor);
                await MakeAsync(job, monitor).ConfigureAwait(false);
            }
        }
        finally
        {
            line.Clear();
            console.Note($"{report.Counts()} of {(long)batch.Entries.Count * arguments.Count}");
        }

        return report.End();

        async Task MakeAsync(BatchJob job, GenerationMonitor monitor)
        {
            try
            {
                var clip = await maker.MakeAsync(planner.Clip(job), monitor, cancellationToken).ConfigureAwait(false);
                line.Clear();
                report.Made(clip, monitor.Summary());
            }
            catch (Exception e) when (group is null ? e is not OperationCanceledException : e is RequestException)
            {
                line.Clear();
                report.Fault(batch.Where(batch.Entries[job.Entry]), e);
            }
        }
    }

    private static void Check(GenerateArguments arguments)
    {
        if (arguments.Clip.Prompt is not null || arguments.Clip.Schedule.Count > 0)
            throw CommandFault.BatchWithPrompt();
        if (arguments.Like is not null)
            throw CommandFault.BatchWithLike();
        if (arguments.SaveLatents is not null || arguments.Clip.LatentsFile is not null)
            throw CommandFault.BatchWithLatents();
        if (arguments.Stream)
            throw CommandFault.BatchWithStream();
        if (arguments.Output == OutputFile.Standard)
            throw CommandFault.BatchToStandardOutput();
    }
}

/// <summary>What a batch asks for, checked item by item against a checkpoint.</summary>
internal sealed class BatchPlanner(BatchFile batch, GenerateArguments arguments, CheckpointFolder folder, RunReport report)
{
    // Fewer items take no time worth showing.
    private const int Shown = 1000;

    private readonly PipelineSettings settings = folder.Settings(arguments.Model.Variant);
    private readonly string output = arguments.Output!;

    /// <summary>Looks at every item before anything is made: reports the bad ones and leaves out what is finished.</summary>
    public async Task<List<BatchJob>> JobsAsync(ProgressLine line, CancellationToken cancellationToken)
    {
        var jobs = new List<BatchJob>();
        var names = new FileNames();
        for (var i = 0; i < batch.Entries.Count; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var entry = batch.Entries[i];
            if (i % Shown == Shown - 1)
                line.Update("looking at the batch", $"item {i + 1}/{batch.Entries.Count}", (double)i / batch.Entries.Count, TimeSpan.Zero);
            try
            {
                var item = Read(entry);
                var file = names.Next(i + 1, item, RequestedClip.Extension(item.Clip, settings));
                foreach (var (copy, name) in OutputNames.Of(Path.Combine(output, file), arguments.Count, "").Index())
                {
                    var clip = Clip(item, copy, name);
                    if (await IsFinishedAsync(clip, cancellationToken).ConfigureAwait(false))
                        report.Skipped(name);
                    else
                        jobs.Add(new BatchJob(i, copy, name));
                }
            }
            catch (Exception e) when (e is PyramidFlowException or IOException or UnauthorizedAccessException)
            {
                line.Clear();
                report.Fault(batch.Where(entry), e);
            }
        }

        return jobs;
    }

    /// <summary>The clip of a job, read again: a batch may be too long to keep all of them.</summary>
    public RequestedClip Clip(BatchJob job) => Clip(Read(batch.Entries[job.Entry]), job.Copy, job.File);

    // A picture is named as seen from the batch file.
    private BatchItem Read(BatchEntry entry)
    {
        var item = batch.Read(entry);
        var clip = item.Clip;
        if (clip.ImageFile is { } image)
            clip = clip with { ImageFile = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(batch.Path))!, image) };
        clip = clip.Over(arguments.Clip);
        RequestedClip.Check(clip);
        return item with { Clip = clip };
    }

    private RequestedClip Clip(BatchItem item, int copy, string file) =>
        RequestedClip.Of(item.Clip with { Seed = item.Clip.Seed + (ulong)copy }, file, settings);

    private async Task<bool> IsFinishedAsync(RequestedClip clip, CancellationToken cancellationToken)
    {
        if (!File.Exists(clip.Output))
            return false;
        try
        {
            var notes = GenerationNotes.Read(await MediaMetadata.ReadAsync(clip.Output, cancellationToken).ConfigureAwait(false));
            return notes?.Fits(ClipNotes.Of(clip, folder, arguments.Model, arguments.Model.Options()), clip.Clip.Seed is not null, arguments.Model.Type is not null,
                arguments.Model.Tile is not null || arguments.Model.MaxMemory is null) ?? false;
        }
        catch (Exception e) when (e is MediaException or MalformedTextException)
        {
            // A file that is no picture or video, or whose notes are damaged, is made again.
            return false;
        }
    }
}

/// <summary>A file that is still to be made.</summary>
/// <param name="Entry">Index of its item in the batch file.</param>
/// <param name="Copy">Which of the item's files, from 0.</param>
/// <param name="File">Its path.</param>
internal readonly record struct BatchJob(int Entry, int Copy, string File)
{
    /// <summary>The jobs of rank zero, in every process of a group.</summary>
    /// <param name="group">The processes.</param>
    /// <param name="own">The jobs of this process, which count on rank zero only.</param>
    public static List<BatchJob> OfFirst(ProcessGroup group, IReadOnlyList<BatchJob> own)
    {
        var text = JsonSerializer.SerializeToUtf8Bytes(own.Select(job => $"{job.Entry}/{job.Copy}/{job.File}"));
        Span<int> length = [text.Length];
        group.Broadcast(length);
        if (group.Rank > 0)
            text = new byte[length[0]];
        group.Broadcast(text.AsSpan());
        return [.. JsonSerializer.Deserialize<string[]>(text)!.Select(line => line.Split('/', 3))
            .Select(parts => new BatchJob(int.Parse(parts[0], CultureInfo.InvariantCulture), int.Parse(parts[1], CultureInfo.InvariantCulture), parts[2]))];
    }
}

/// <summary>
/// Names of a batch's files: what names the item, or its number and the beginning of its prompt. They hold no character that
/// some file system forbids or that leaves the folder, and no two are alike, on systems that ignore case either.
/// </summary>
internal sealed class FileNames
{
    // A name may have 255 bytes; a number, an extension and the hidden name of the unfinished file are added.
    private const int MaxNameBytes = 120, MaxPromptBytes = 48;
    private static readonly string[] Reserved = ["con", "prn", "aux", "nul", .. Enumerable.Range(0, 10).SelectMany(n => (string[])[$"com{n}", $"lpt{n}"])];

    private readonly HashSet<string> taken = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>The name of an item's file, with its extension.</summary>
    /// <param name="number">Number of the item, from 1.</param>
    /// <param name="item">The item.</param>
    /// <param name="extension">Unless its name has a known one.</param>
    public string Next(int number, BatchItem item, string extension)
    {
        var stem = $"{number:D4}";
        if (item.Name is { } name)
        {
            var written = OutputFile.Extensions.FirstOrDefault(known => name.EndsWith(known, StringComparison.OrdinalIgnoreCase));
            if (written is not null)
                (name, extension) = (name[..^written.Length], written);
            stem = Safe(name) is { Length: > 0 } safe ? safe : stem;
        }
        else if (Slug(item.Clip.Prompt ?? "") is { Length: > 0 } slug)
        {
            stem += "-" + slug;
        }

        if (!taken.Add(stem + extension))
        {
            // Of what was written, and not a counter: an item that is put in before does not change it.
            stem += "-" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(item.Name ?? stem)))[..8];
            if (!taken.Add(stem + extension))
                throw CommandFault.ItemNameRepeated(item.Name);
        }

        return stem + extension;
    }

    private static string Safe(string name)
    {
        var safe = Kept(name, rune => Rune.IsLetterOrDigit(rune) || rune.Value is '-' or '_' or '.' or ' ' or '+' or '=' or '@' or ',' or '(' or ')', MaxNameBytes)
            .Trim('-', '.', ' ');
        return Reserved.Contains(safe.Split('.')[0].ToLowerInvariant()) ? safe + "_" : safe;
    }

    // Whole words, unless the first is too long.
    private static string Slug(string prompt)
    {
        var words = Kept(prompt.ToLowerInvariant(), Rune.IsLetterOrDigit, int.MaxValue).Trim('-');
        var slug = Kept(words, Rune.IsLetterOrDigit, MaxPromptBytes);
        return slug.Length < words.Length && words[slug.Length] != '-' && slug.LastIndexOf('-') is > 0 and var end ? slug[..end] : slug.Trim('-');
    }

    // A dash for each run of others.
    private static string Kept(string text, Func<Rune, bool> keep, int maxBytes)
    {
        var kept = new StringBuilder();
        var bytes = 0;
        foreach (var rune in text.EnumerateRunes())
        {
            var next = keep(rune) && rune != Rune.ReplacementChar ? rune : new Rune('-');
            if (next.Value == '-' && (kept.Length == 0 || kept[^1] == '-'))
                continue;
            bytes += next.Utf8SequenceLength;
            if (bytes > maxBytes)
                break;
            kept.Append(next);
        }

        return kept.ToString();
    }
}
