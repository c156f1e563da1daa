using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Output;

namespace PyramidFlow.Cli.Batches;

/// <summary>One run of <c>generate --batch</c>.</summary>
internal sealed class BatchRun(CliConsole console)
{
    /// <summary>Makes what is not made yet; an item that fails is reported and the rest goes on.</summary>
    public async Task<int> RunAsync(string file, GenerateArguments arguments, CancellationToken cancel)
    {
        Check(arguments);
        var output = arguments.Output ?? throw new UsageException($"--batch writes many files: name a folder for them, such as -o {OutputFile.Stem}");
        if (File.Exists(output) || (OutputFile.Extensions.Contains(Path.GetExtension(output).ToLowerInvariant()) && !Directory.Exists(output)))
            throw new UsageException($"{output} is the name of one file: --batch writes many, name a folder for them with -o");
        var batch = BatchFile.Open(file);
        var folder = arguments.Model.Open();

        using var line = new ProgressLine(console);
        using var maker = new ClipMaker(arguments.Model, folder, console);
        var report = new RunReport(console, arguments.Json, arguments.Verbose);
        var planner = new BatchPlanner(batch, arguments, folder, report);
        var jobs = await planner.JobsAsync(line, cancel).ConfigureAwait(false);
        try
        {
            if (jobs.Count > 0)
                OutputFile.MakeFolder(output);
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
                var clip = await maker.MakeAsync(planner.Plan(job), monitor, cancel).ConfigureAwait(false);
                line.Clear();
                report.Made(clip, monitor.Summary());
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                line.Clear();
                report.Fault(batch.Where(batch.Entries[job.Entry]), e);
            }
        }
    }

    private static void Check(GenerateArguments arguments)
    {
        if (arguments.Clip.Prompt is not null || arguments.Clip.Schedule.Count > 0)
            throw new UsageException("the prompts are in the --batch file: leave the other one out");
        if (arguments.Like is not null)
            throw new UsageException("--like repeats one file and --batch makes many: use one of them");
        if (arguments.SaveLatents is not null || arguments.Clip.LatentsFile is not null)
            throw new UsageException("latents are those of one clip and --batch makes many: leave --save-latents and --from-latents out");
        if (arguments.Stream)
            throw new UsageException("an unfinished streamed file looks like a finished one when the batch goes on: leave --stream out");
        if (arguments.Output == OutputFile.Standard)
            throw new UsageException("--batch writes many files, and standard output takes one video: name a folder with -o");
    }
}
