using PyramidFlow.Cli.Output;
using PyramidFlow.Media;
using PyramidFlow.Pipelines;

namespace PyramidFlow.Cli.Generating;

/// <summary>One run of <c>generate</c>.</summary>
internal sealed class GenerateRun(CliConsole console)
{
    /// <summary>Generates and writes a clip; prints its path.</summary>
    public async Task<int> RunAsync(GenerateArguments arguments, CancellationToken cancel)
    {
        GenerationPlan.Check(arguments);
        var folder = arguments.Model.Open();
        var plan = GenerationPlan.Of(arguments, folder);
        plan = plan.Checked(await ImageAsync(arguments.Image, plan.Request, cancel).ConfigureAwait(false), folder.Settings(arguments.Model.Variant));
        var options = arguments.Model.Options();

        await using var file = ClipFile.Create(plan, GenerationNotes.Metadata(plan, arguments, folder));
        using var line = new ProgressLine(console);
        var monitor = new GenerationMonitor(line);
        using var pipeline = VideoPipeline.Load(folder.Root, options, monitor);
        var run = pipeline.GenerateAsync(plan.Request, monitor, cancel);
        var frames = 0;
        await foreach (var chunk in run.ConfigureAwait(false))
        {
            if (frames == 0)
                Warn(run.Warnings, line);
            await file.WriteAsync(chunk, cancel).ConfigureAwait(false);
            frames += chunk.Count;
        }

        await file.CompleteAsync(cancel).ConfigureAwait(false);
        line.Clear();
        console.Note($"seed {plan.Request.Seed}, {frames} {(frames == 1 ? "frame" : "frames")} of {plan.Request.Width}x{plan.Request.Height}, {monitor.Summary()}");
        console.Result(plan.Output);
        return ExitCode.Ok;
    }
    private static async Task<ReadOnlyMemory<byte>?> ImageAsync(string? path, GenerationRequest request, CancellationToken cancel)
    {
        if (path is null)
            return null;
        var picture = await ImageReader.ReadAsync(path, request.Width, request.Height, cancel).ConfigureAwait(false);
        return picture.Pixels;
    }

    private void Warn(IReadOnlyList<string> warnings, ProgressLine line)
    {
        if (warnings.Count > 0)
            line.Clear();
        foreach (var warning in warnings)
            console.Warn(warning);
    }
}
