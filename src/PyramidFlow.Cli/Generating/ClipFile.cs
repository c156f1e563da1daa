using PyramidFlow.Media;
using PyramidFlow.Pipelines;

namespace PyramidFlow.Cli.Generating;

/// <summary>The picture or video that frames go to as they come; appears under its name when it is complete.</summary>
internal sealed class ClipFile : IAsyncDisposable
{
    private readonly string path;
    private readonly IReadOnlyDictionary<string, string> metadata;
    private readonly VideoWriter? video;
    private RgbImage? picture;

    private ClipFile(string path, IReadOnlyDictionary<string, string> metadata, VideoWriter? video) =>
        (this.path, this.metadata, this.video) = (path, metadata, video);

    /// <summary>Starts a file.</summary>
    /// <exception cref="MediaException">The size does not fit the format, or ffmpeg is missing.</exception>
    public static ClipFile Create(GenerationPlan plan, IReadOnlyDictionary<string, string> metadata)
    {
        var video = GenerationPlan.IsPicture(plan.Output)
            ? null
            : VideoWriter.Create(plan.Output, plan.Request.Width!.Value, plan.Request.Height!.Value,
                new VideoWriterOptions { Fps = plan.FramesPerSecond, Title = plan.Request.Prompt, Metadata = metadata });
        return new ClipFile(plan.Output, metadata, video);
    }

    public async Task WriteAsync(VideoChunk chunk, CancellationToken cancel)
    {
        if (video is null)
            picture ??= new RgbImage(chunk.Width, chunk.Height, chunk.Rgb[..(chunk.Width * chunk.Height * 3)]);
        else
            await video.WriteFramesAsync(chunk.Rgb, cancel).ConfigureAwait(false);
    }

    public async Task CompleteAsync(CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        if (video is not null)
            await video.CompleteAsync(cancel).ConfigureAwait(false);
        else
            PngWriter.Write(path, picture ?? throw new CommandException($"{path} was not written: the model made no frame"), metadata);
    }

    public ValueTask DisposeAsync() => video?.DisposeAsync() ?? ValueTask.CompletedTask;
}
