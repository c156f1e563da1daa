using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;

namespace PyramidFlow.Cli.Generating;

/// <summary>Makes clips with one model, which is loaded when the first one needs it.</summary>
internal sealed class ClipMaker(ModelArguments model, CheckpointFolder folder, CliConsole console) : IDisposable
{
    private readonly HashSet<string> warned = [];
    private (PlannedModel Model, ElementTypeChoice Type, PipelineOptions Options)? arranged;
    private bool saidType;
    private VideoPipeline? pipeline;

    // Configurations and headers of files, and with them the element type of all clips.
    private (PlannedModel Model, ElementTypeChoice Type, PipelineOptions Options) Arranged
    {
        get
        {
            if (arranged is null)
            {
                var planned = PlannedModel.Of(folder, model.Variant);
                var type = ElementTypeChoice.Of(planned, model.Options());
                arranged = (planned, type, type.In(model.Options()));
            }

            return arranged.Value;
        }
    }

    /// <summary>Reads the weights unless they are there.</summary>
    public void Load(GenerationMonitor monitor)
    {
        SayType(monitor);
        pipeline ??= VideoPipeline.Load(folder.Root, Arranged.Options, monitor);
    }

    /// <summary>Makes a clip and writes its file.</summary>
    /// <exception cref="RequestException">The model cannot make what is asked for.</exception>
    public async Task<MadeClip> MakeAsync(RequestedClip clip, GenerationMonitor monitor, CancellationToken cancellationToken)
    {
        var plan = clip.Plan(Arranged.Model, Arranged.Options);
        SayType(monitor);
        var inputs = new ClipInputs(plan, ClipNotes.Of(clip, folder, model, plan.Placement), Arranged.Model.Settings.FramesPerSecond)
        {
            ConditioningFile = clip.Clip.ImageFile ?? clip.Clip.VideoFile,
        };
        await using var file = model.IsFollower ? null : new ClipFile(clip, monitor, console);
        var made = await ClipGenerator.MakeAsync(inputs, Pipeline, file ?? (IFrameSink)new NoFile(), monitor, warnings => Warn(warnings, monitor), cancellationToken).ConfigureAwait(false);
        return new MadeClip(clip.Output, made.Settings.Seed, made.Frames, made.Settings.Width, made.Settings.Height);

        VideoPipeline Pipeline()
        {
            Load(monitor);
            return pipeline!;
        }
    }

    public void Dispose() => pipeline?.Dispose();

    // The first line of a run.
    private void SayType(GenerationMonitor monitor)
    {
        if (saidType)
            return;
        saidType = true;
        monitor.Clear();
        console.Note(NumberTypes.Sentence(Arranged.Type, model.Type));
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

/// <summary>Takes the frames of a process that works for another one, which writes the file.</summary>
internal sealed class NoFile : IFrameSink
{
    public void Begin(GenerationNotes notes)
    {
    }

    public void Expect(int frames)
    {
    }

    public Task WriteAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancellationToken) => Task.CompletedTask;

    public void ChunkDone(VideoChunk chunk)
    {
    }

    public Task CompleteAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}

/// <summary>A clip that was made.</summary>
internal sealed record MadeClip(string File, ulong Seed, int Frames, int Width, int Height)
{
    /// <summary>Such as <c>seed 7, 17 frames of 64x64</c>.</summary>
    public override string ToString() => $"seed {Seed}, {Frames} {(Frames == 1 ? "frame" : "frames")} of {Width}x{Height}";
}

/// <summary>
/// The picture or video that frames go to as they come. It appears under its name when it is complete, unless it is one that
/// can be watched while it is made. The latents are written beside it when it is complete, if that was asked for.
/// </summary>
internal sealed class ClipFile(RequestedClip clip, GenerationMonitor monitor, CliConsole console) : IFrameSink, IAsyncDisposable
{
    private readonly string path = clip.Output;
    private readonly (int Width, int Height) size = (clip.Settings.Width, clip.Settings.Height);
    private readonly List<LatentClip> latents = [];
    private IReadOnlyDictionary<string, string> metadata = new Dictionary<string, string>();
    private IVideoWriter? video;
    private Stream? bytes;
    private RgbImage? picture;

    /// <summary>Starts the file.</summary>
    /// <exception cref="MediaException">The size does not fit the format, or ffmpeg is missing.</exception>
    public void Begin(GenerationNotes notes)
    {
        metadata = notes.Metadata();
        if (OutputFile.IsPicture(path))
            return;
        var options = new VideoWriterOptions { Fps = clip.Settings.Options.FramesPerSecond!.Value, Title = clip.Settings.Options.Prompt, Metadata = metadata };
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

    public void Expect(int frames)
    {
        // A file needs no length ahead.
    }

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

    public void ChunkDone(VideoChunk chunk)
    {
        monitor.Wrote();
        if (clip.LatentsFile is not null && chunk.Latents is { } made)
            latents.Add(made);
    }

    public async Task CompleteAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (video is not null)
            await video.CompleteAsync(cancellationToken).ConfigureAwait(false);
        else
            PngWriter.Write(path, picture ?? throw CommandFault.NoFrame(path), metadata);
        if (clip.LatentsFile is { } target)
            LatentFile.Write(target, LatentClip.Join(latents), clip.Settings, metadata);
    }

    public async ValueTask DisposeAsync()
    {
        if (video is not null)
            await video.DisposeAsync().ConfigureAwait(false);
        if (bytes is not null)
            await bytes.DisposeAsync().ConfigureAwait(false);
    }
}
