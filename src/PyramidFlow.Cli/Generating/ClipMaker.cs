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
    private readonly Lazy<PlannedModel> planned = new(() => PlannedModel.Of(folder, model.Variant));
    private VideoPipeline? pipeline;

    /// <summary>Reads the weights unless they are there.</summary>
    public void Load(GenerationMonitor monitor) => pipeline ??= VideoPipeline.Load(folder.Root, options, monitor);

    /// <summary>Makes a clip and writes its file.</summary>
    /// <exception cref="UsageException">The model cannot make what is asked for.</exception>
    public async Task<MadeClip> MakeAsync(RequestedClip clip, GenerationMonitor monitor, CancellationToken cancellationToken)
    {
        var plan = clip.Plan(planned.Value, options);
        if (await PictureAsync(clip, monitor, cancellationToken).ConfigureAwait(false) is { } picture)
            plan = plan.WithPixels(picture);
        var metadata = ClipNotes.Of(clip, folder, model, plan.Placement).Metadata();
        await using var file = ClipFile.Create(clip, metadata, console);
        var bytes = 0L;
        if (await VideoAsync(clip, WriteAsync, cancellationToken).ConfigureAwait(false) is { } video)
            plan = plan.WithPixels(video);
        Warn(plan.Clip.Warnings, monitor);
        Load(monitor);
        var run = pipeline!.GenerateAsync(plan, monitor, cancellationToken);
        var latents = new List<LatentClip>();
        await foreach (var chunk in run.ConfigureAwait(false))
        {
            Warn(run.Warnings, monitor);
            await WriteAsync(chunk.Rgb).ConfigureAwait(false);
            monitor.Wrote();
            if (clip.LatentsFile is not null && chunk.Latents is { } made)
                latents.Add(made);
        }

        await file.CompleteAsync(cancellationToken).ConfigureAwait(false);
        if (clip.LatentsFile is { } target)
            LatentFile.Write(target, LatentClip.Join(latents), run.Settings, metadata);
        var (width, height) = (plan.Clip.Width, plan.Clip.Height);
        return new MadeClip(clip.Output, plan.Clip.Seed, (int)(bytes / (3L * width * height)), width, height);

        async Task WriteAsync(ReadOnlyMemory<byte> rgb)
        {
            await file.WriteAsync(rgb, cancellationToken).ConfigureAwait(false);
            bytes += rgb.Length;
        }
    }

    public void Dispose() => pipeline?.Dispose();

    private async Task<ReadOnlyMemory<byte>?> PictureAsync(RequestedClip clip, GenerationMonitor monitor, CancellationToken cancellationToken)
    {
        if (clip.Clip.ImageFile is not { } path)
            return null;
        var picture = await ImageReader.ReadAsync(path, clip.Settings.Width, clip.Settings.Height, cancellationToken).ConfigureAwait(false);
        if (picture.Warning is { } warning)
            Warn([warning], monitor);
        return picture.Pixels;
    }

    private async Task<ReadOnlyMemory<byte>?> VideoAsync(RequestedClip clip, Func<ReadOnlyMemory<byte>, Task> write, CancellationToken cancellationToken)
    {
        if (clip.Clip.VideoFile is not { } path)
            return null;
        var options = new VideoReadOptions { Width = clip.Settings.Width, Height = clip.Settings.Height, Fps = settings.FramesPerSecond };
        return await ConditioningVideo.ReadAsync(path, options, clip.Settings.Conditioning!.Frames, clip.Settings.NewFramesOnly ? null : write, cancellationToken).ConfigureAwait(false);
    }

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

    private ClipFile(RequestedClip clip, IReadOnlyDictionary<string, string> metadata, CliConsole console)
    {
        (path, this.metadata) = (clip.Output, metadata);
        size = (clip.Settings.Width, clip.Settings.Height);
        if (OutputFile.IsPicture(path))
            return;
        var options = new VideoWriterOptions { Fps = clip.FramesPerSecond, Title = clip.Settings.Options.Prompt, Metadata = metadata };
        if (path == OutputFile.Standard)
        {
            bytes = console.OpenBytes();
            video = VideoStreamWriter.Create(bytes, "standard output", size.Width, size.Height, options);
        }
        else
        {
            video = clip.Stream ? VideoStreamWriter.Create(path, size.Width, size.Height, options) : VideoWriter.Create(path, size.Width, size.Height, options);
        }
    }

    /// <summary>Starts a file.</summary>
    /// <exception cref="MediaException">The size does not fit the format, or ffmpeg is missing.</exception>
    public static ClipFile Create(RequestedClip clip, IReadOnlyDictionary<string, string> metadata, CliConsole console) => new(clip, metadata, console);

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
