using PyramidFlow.Cli.Output;
using PyramidFlow.Media;

namespace PyramidFlow.Cli.Generating;

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
    /// <param name="cancel">Stops the encoder.</param>
    public async Task WriteAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancel)
    {
        if (video is null)
            picture ??= new RgbImage(size.Width, size.Height, rgb[..(size.Width * size.Height * 3)]);
        else
            await video.WriteFramesAsync(rgb, cancel).ConfigureAwait(false);
    }

    public async Task CompleteAsync(CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        if (video is not null)
            await video.CompleteAsync(cancel).ConfigureAwait(false);
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
