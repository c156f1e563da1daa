using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;

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
    public async Task<MadeClip> MakeAsync(GenerationPlan plan, GenerationMonitor monitor, CancellationToken cancellationToken)
    {
        var image = await PictureAsync(plan, monitor, cancellationToken).ConfigureAwait(false);
        var metadata = ClipNotes.Of(plan, folder, model with { Tile = model.Tile ?? ChosenTile(plan, image) }).Metadata();
        await using var file = ClipFile.Create(plan, metadata, console);
        var bytes = 0L;
        var video = await VideoAsync(plan, WriteAsync, cancellationToken).ConfigureAwait(false);
        var (request, warnings) = plan.With(image, video, settings);
        Warn(warnings, monitor);
        Load(monitor);
        var run = pipeline!.GenerateAsync(request, monitor, cancellationToken);
        var latents = new List<LatentClip>();
        await foreach (var chunk in run.ConfigureAwait(false))
        {
            Warn(run.Warnings, monitor);
            await WriteAsync(chunk.Rgb).ConfigureAwait(false);
            monitor.Wrote();
            if (plan.LatentsFile is not null && chunk.Latents is { } made)
                latents.Add(made);
        }

        await file.CompleteAsync(cancellationToken).ConfigureAwait(false);
        if (plan.LatentsFile is { } target)
            LatentFile.Write(target, LatentClip.Join(latents), run.Settings, metadata);
        var (width, height) = (request.Width!.Value, request.Height!.Value);
        return new MadeClip(plan.Output, request.Seed!.Value, (int)(bytes / (3L * width * height)), width, height);

        async Task WriteAsync(ReadOnlyMemory<byte> rgb)
        {
            await file.WriteAsync(rgb, cancellationToken).ConfigureAwait(false);
            bytes += rgb.Length;
        }
    }

    public void Dispose() => pipeline?.Dispose();

    private async Task<ReadOnlyMemory<byte>?> PictureAsync(GenerationPlan plan, GenerationMonitor monitor, CancellationToken cancellationToken)
    {
        if (plan.Clip.ImageFile is not { } path)
            return null;
        var picture = await ImageReader.ReadAsync(path, plan.Request.Width, plan.Request.Height, cancellationToken).ConfigureAwait(false);
        if (picture.Warning is { } warning)
            Warn([warning], monitor);
        return picture.Pixels;
    }

    private async Task<ReadOnlyMemory<byte>?> VideoAsync(GenerationPlan plan, Func<ReadOnlyMemory<byte>, Task> write, CancellationToken cancellationToken)
    {
        if (plan.Clip.VideoFile is not { } path)
            return null;
        var options = new VideoReadOptions { Width = plan.Request.Width, Height = plan.Request.Height, Fps = settings.FramesPerSecond };
        var most = VideoLength.OfLatents(Math.Clamp(plan.Request.HistoryWindow ?? 0, settings.MaxLatentFrames, VideoLength.Latents(VideoLength.MaxFrames)));
        return await ConditioningVideo.ReadAsync(path, options, most, plan.Request.NewFramesOnly == true ? null : write, cancellationToken).ConfigureAwait(false);
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

/// <summary>A clip that was made.</summary>
internal sealed record MadeClip(string File, ulong Seed, int Frames, int Width, int Height)
{
    /// <summary>Such as <c>seed 7, 17 frames of 64x64</c>.</summary>
    public override string ToString() => $"seed {Seed}, {Frames} {(Frames == 1 ? "frame" : "frames")} of {Width}x{Height}";
}

/// <summary>
/// The picture or video that frames go to as they come. It appears under its name when it is complete, unless it is one that
/// can be watched while it is made.
/// </summary>
internal sealed class ClipFile : IAsyncDisposable
{
    private readonly string path;
    private readonly IReadOnlyDictionary<string, string> metadata;
    private readonly (int Width, int Height) size;
    private readonly IVideoWriter? video;
    private readonly Stream? bytes;
    private RgbImage? picture;

    private ClipFile(GenerationPlan plan, IReadOnlyDictionary<string, string> metadata, CliConsole console)
    {
        (path, this.metadata) = (plan.Output, metadata);
        size = (plan.Request.Width!.Value, plan.Request.Height!.Value);
        if (OutputFile.IsPicture(path))
            return;
        var options = new VideoWriterOptions { Fps = plan.FramesPerSecond, Title = plan.Request.Prompt, Metadata = metadata };
        if (path == OutputFile.Standard)
        {
            bytes = console.OpenBytes();
            video = VideoStreamWriter.Create(bytes, "standard output", size.Width, size.Height, options);
        }
        else
        {
            video = plan.Stream ? VideoStreamWriter.Create(path, size.Width, size.Height, options) : VideoWriter.Create(path, size.Width, size.Height, options);
        }
    }

    /// <summary>Starts a file.</summary>
    /// <exception cref="MediaException">The size does not fit the format, or ffmpeg is missing.</exception>
    public static ClipFile Create(GenerationPlan plan, IReadOnlyDictionary<string, string> metadata, CliConsole console) => new(plan, metadata, console);

    /// <summary>Adds frames.</summary>
    /// <param name="rgb">Whole frames, interleaved RGB bytes.</param>
    /// <param name="cancellationToken">Stops the encoder.</param>
    public async Task WriteAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancellationToken)
    {
        if (video is null)
            picture ??= new RgbImage(size.Width, size.Height, rgb[..(size.Width * size.Height * 3)]);
        else
            await video.WriteFramesAsync(rgb, cancellationToken).ConfigureAwait(false);
    }

    public async Task CompleteAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (video is not null)
            await video.CompleteAsync(cancellationToken).ConfigureAwait(false);
        else
            PngWriter.Write(path, picture ?? throw new CommandException($"{path} was not written: the model made no frame"), metadata);
    }

    public async ValueTask DisposeAsync()
    {
        if (video is not null)
            await video.DisposeAsync().ConfigureAwait(false);
        if (bytes is not null)
            await bytes.DisposeAsync().ConfigureAwait(false);
    }
}
