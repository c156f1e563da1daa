using PyramidFlow.Cli.Output;

namespace PyramidFlow.Cli.Generating;

/// <summary>One run of <c>generate</c> for one prompt.</summary>
internal sealed class GenerateRun(CliConsole console)
{
    /// <summary>Generates and writes its clips; prints their paths.</summary>
    public async Task<int> RunAsync(GenerateArguments arguments, CancellationToken cancel)
    {
        if (arguments.Like is not null)
            arguments = await LikeFile.ApplyAsync(arguments, console, cancel).ConfigureAwait(false);
        GenerationPlan.Check(arguments.Clip);
        OutputNames.Check(arguments.Output, arguments.Count);
        var folder = arguments.Model.Open();
        var settings = folder.Settings(arguments.Model.Variant);
        var outputs = OutputNames.Of(arguments.Output, arguments.Count, GenerationPlan.Extension(arguments.Clip, settings));
        var plans = new List<GenerationPlan>();
        for (var i = 0; i < arguments.Count; i++)
        {
            // Each has the seed after that of the one before, so that every clip can be made alone.
            var seed = plans.Count == 0 ? arguments.Clip.Seed : plans[^1].Request.Seed + 1;
            plans.Add(GenerationPlan.Of(arguments.Clip with { Seed = seed }, outputs[i], settings));
        }

        using var line = new ProgressLine(console);
        using var maker = new ClipMaker(arguments.Model, folder, console);
        var report = new RunReport(console, arguments.Json, arguments.Verbose);
        foreach (var (i, plan) in plans.Index())
        {
            var monitor = new GenerationMonitor(line, i, plans.Count);
            var clip = await maker.MakeAsync(plan, monitor, cancel).ConfigureAwait(false);
            line.Clear();
            report.Made(clip, monitor.Summary());
        }

        return report.End();
    }
}
