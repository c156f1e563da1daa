using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Models;
using PyramidFlow.Media;
using PyramidFlow.Generation;

namespace PyramidFlow.Cli.Generating;

/// <summary>Makes clips with one model, which is loaded when the first one needs it.</summary>
internal sealed class ClipMaker(ModelArguments model, CheckpointFolder folder, CliConsole console) : IDisposable
{
    private readonly PipelineOptions options = model.Options();
    private readonly PipelineSettings settings = folder.Settings(model.Variant);
    private readonly HashSet<string> warned = [];
    private VideoPipeline? pipeline;

    /// <summary>Reads the weights unless they are there.</summary>
    public void Load(GenerationMonitor monitor) => pipeline ??= VideoPipeline.Load(folder.Root, options, monitor);

    /// <summary>Makes a clip and writes its file.</summary>
    /// <exception cref="UsageException">The model cannot make what is asked for.</exception>
    public async Task<MadeClip> MakeAsync(GenerationPlan plan, GenerationMonitor monitor, CancellationToken cancel)
    {
        var image = await PictureAsync(plan, monitor, cancel).ConfigureAwait(false);
        var metadata = ClipNotes.Of(plan, folder, model with { Tile = model.Tile ?? ChosenTile(plan, image) }).Metadata();
        await using var file = ClipFile.Create(plan, metadata, console);
        var bytes = 0L;
        var video = await VideoAsync(plan, WriteAsync, cancel).ConfigureAwait(false);
        var (request, warnings) = plan.With(image, video, settings);
        Warn(warnings, monitor);
        Load(monitor);
        var run = pipeline!.GenerateAsync(request, monitor, cancel);
        var latents = new List<LatentClip>();
        await foreach (var chunk in run.ConfigureAwait(false))
        {
            Warn(run.Warnings, monitor);
            await WriteAsync(chunk.Rgb).ConfigureAwait(false);
            monitor.Wrote();
            if (plan.LatentsFile is not null && chunk.Latents is { } made)
                latents.Add(made);
        }

        await file.CompleteAsync(cancel).ConfigureAwait(false);
        if (plan.LatentsFile is { } target)
            LatentFile.Write(target, LatentClip.Join(latents), run.Settings, metadata);
        var (width, height) = (request.Width!.Value, request.Height!.Value);
        return new MadeClip(plan.Output, request.Seed!.Value, (int)(bytes / (3L * width * height)), width, height);

        async Task WriteAsync(ReadOnlyMemory<byte> rgb)
        {
            await file.WriteAsync(rgb, cancel).ConfigureAwait(false);
            bytes += rgb.Length;
        }
    }

    public void Dispose() => pipeline?.Dispose();

    private async Task<ReadOnlyMemory<byte>?> PictureAsync(GenerationPlan plan, GenerationMonitor monitor, CancellationToken cancel)
    {
        if (plan.Clip.ImageFile is not { } path)
            return null;
        var picture = await ImageReader.ReadAsync(path, plan.Request.Width, plan.Request.Height, cancel).ConfigureAwait(false);
        if (picture.Warning is { } warning)
            Warn([warning], monitor);
        return picture.Pixels;
    }

    private async Task<ReadOnlyMemory<byte>?> VideoAsync(GenerationPlan plan, Func<ReadOnlyMemory<byte>, Task> write, CancellationToken cancel)
    {
        if (plan.Clip.VideoFile is not { } path)
            return null;
        var options = new VideoReadOptions { Width = plan.Request.Width, Height = plan.Request.Height, Fps = settings.FramesPerSecond };
        var most = VideoLength.OfLatents(Math.Clamp(plan.Request.HistoryWindow ?? 0, settings.MaxLatentFrames, VideoLength.Latents(VideoLength.MaxFrames)));
        return await ConditioningVideo.ReadAsync(path, options, most, plan.Request.NewFramesOnly == true ? null : write, cancel).ConfigureAwait(false);
    }

    // The tiles that a budget makes of this clip, so that they need no budget to be made again. A given video is read too late for that.
    private int? ChosenTile(GenerationPlan plan, ReadOnlyMemory<byte>? image) =>
        plan.Clip.VideoFile is null ? MemoryBudget.TilesFor(folder, plan.With(image, null, settings).Request, options)?.Size : null;

    // Each sentence once, though it may hold for every clip of a batch.
    private void Warn(IReadOnlyList<string> warnings, GenerationMonitor monitor)
    {
        foreach (var warning in warnings.Where(warned.Add))
        {
            monitor.Clear();
            console.Warn(warning);
        }
    }
}
