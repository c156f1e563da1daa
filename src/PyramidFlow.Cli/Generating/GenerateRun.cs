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
        var request = plan.Request;
        var options = arguments.Model.Options();
        if (arguments.Image is { } image)
        {
            var picture = await ImageReader.ReadAsync(image, request.Width, request.Height, cancel).ConfigureAwait(false);
            request = request with { Image = picture.Pixels };
        }

        await using var file = ClipFile.Create(plan, GenerationNotes.Metadata(plan, arguments, folder));
        using var line = new ProgressLine(console);
        var monitor = new GenerationMonitor(line);
        using var pipeline = VideoPipeline.Load(folder.Root, options, monitor);
        var frames = 0;
        await foreach (var chunk in pipeline.GenerateAsync(request, monitor, cancel).ConfigureAwait(false))
        {
            await file.WriteAsync(chunk, cancel).ConfigureAwait(false);
            frames += chunk.Count;
        }

        await file.CompleteAsync(cancel).ConfigureAwait(false);
        line.Clear();
        console.Note($"seed {request.Seed}, {frames} {(frames == 1 ? "frame" : "frames")} of {request.Width}x{request.Height}, {monitor.Summary()}");
        console.Result(plan.Output);
        return ExitCode.Ok;
    }
}
