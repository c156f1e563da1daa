using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Hub;
using PyramidFlow.Media;
using PyramidFlow.Pipelines;

namespace PyramidFlow.Cli.Generating;

/// <summary>Makes clips with one model, which is loaded when the first one needs it.</summary>
internal sealed class ClipMaker(ModelArguments model, CheckpointFolder folder, CliConsole console) : IDisposable
{
    private readonly PipelineOptions options = model.Options();
    private readonly PipelineSettings settings = folder.Settings(model.Variant);
    private VideoPipeline? pipeline;

    /// <summary>Reads the weights unless they are there.</summary>
    public void Load(GenerationMonitor monitor) => pipeline ??= VideoPipeline.Load(folder.Root, options, monitor);

    /// <summary>Makes a clip and writes its file.</summary>
    /// <exception cref="UsageException">The model cannot make what is asked for.</exception>
    public async Task<MadeClip> MakeAsync(GenerationPlan plan, GenerationMonitor monitor, CancellationToken cancel)
    {
        var request = plan.Complete(await ImageAsync(plan, cancel).ConfigureAwait(false), settings);
        await using var file = ClipFile.Create(plan, GenerationNotes.Of(plan, folder, model).Metadata());
        Load(monitor);
        var run = pipeline!.GenerateAsync(request, monitor, cancel);
        var frames = 0;
        await foreach (var chunk in run.ConfigureAwait(false))
        {
            if (frames == 0)
                Warn(run.Warnings, monitor);
            await file.WriteAsync(chunk, cancel).ConfigureAwait(false);
            frames += chunk.Count;
        }

        await file.CompleteAsync(cancel).ConfigureAwait(false);
        return new MadeClip(plan.Output, request.Seed, frames, request.Width!.Value, request.Height!.Value);
    }

    public void Dispose() => pipeline?.Dispose();

    private static async Task<ReadOnlyMemory<byte>?> ImageAsync(GenerationPlan plan, CancellationToken cancel)
    {
        if (plan.Clip.Image is not { } path)
            return null;
        var picture = await ImageReader.ReadAsync(path, plan.Request.Width, plan.Request.Height, cancel).ConfigureAwait(false);
        return picture.Pixels;
    }

    private void Warn(IReadOnlyList<string> warnings, GenerationMonitor monitor)
    {
        if (warnings.Count > 0)
            monitor.Clear();
        foreach (var warning in warnings)
            console.Warn(warning);
    }
}
