namespace PyramidFlow.Media;

/// <summary>
/// Writes a video incrementally: to a file (<see cref="VideoWriter"/>) or to a stream that is read meanwhile
/// (<see cref="VideoStreamWriter"/>). Not thread-safe.
/// </summary>
public interface IVideoWriter : IAsyncDisposable
{
    /// <summary>Number of frames written so far.</summary>
    long FrameCount { get; }

    /// <summary>Adds frames.</summary>
    /// <param name="rgb">One or more whole frames, 8-bit RGB, [frames, height, width, 3].</param>
    /// <param name="cancellationToken">Stops the encoder; the video cannot be continued after that.</param>
    /// <exception cref="ArgumentException">The bytes are not a whole number of frames.</exception>
    /// <exception cref="MediaException">The frames could not be encoded or written.</exception>
    Task WriteFramesAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancellationToken = default);

    /// <summary>Finishes the video.</summary>
    /// <param name="cancellationToken">Stops the encoder.</param>
    /// <exception cref="MediaException">No frame was written, or the video could not be finished.</exception>
    Task CompleteAsync(CancellationToken cancellationToken = default);
}

/// <summary>
/// Writes a video file frame by frame: .mp4 (H.264, yuv420p, BT.709, index first) or .gif. The file gets its name when
/// <see cref="CompleteAsync"/> returns; disposing earlier leaves no file behind. Not thread-safe.
/// </summary>
public sealed class VideoWriter : IVideoWriter
{
    private readonly VideoFormat format;
    private readonly VideoWriterOptions options;
    private readonly PartialFile file;
    private readonly FfmpegProcess process;
    private readonly int frameBytes;
    private bool completed;

    private VideoWriter(VideoFormat format, VideoWriterOptions options, PartialFile file, FfmpegProcess process, int frameBytes)
    {
        this.format = format;
        this.options = options;
        this.file = file;
        this.process = process;
        this.frameBytes = frameBytes;
    }

    /// <summary>Full path of the video.</summary>
    public string Path => file.Target;

    /// <inheritdoc/>
    public long FrameCount { get; private set; }

    /// <summary>Starts a video.</summary>
    /// <param name="path">File to write, .mp4 or .gif. Creates its folder; replaces an existing file.</param>
    /// <param name="width">Width in pixels; even for .mp4.</param>
    /// <param name="height">Height in pixels; even for .mp4.</param>
    /// <param name="options">Rate, quality and metadata.</param>
    /// <param name="tools">The ffmpeg to run; null takes it from the environment.</param>
    /// <exception cref="MediaException">A value is invalid, the folder cannot be written, or ffmpeg is missing.</exception>
    public static VideoWriter Create(
        string path, int width, int height, VideoWriterOptions? options = null, FfmpegTools? tools = null)
    {
        options ??= new VideoWriterOptions();
        var format = VideoFormat.FromPath(path);
        format.Check(options, width, height);
        var arguments = VideoFormat.InputArguments(options, width, height).Concat(format.Arguments(options));
        var file = PartialFile.Create(path);
        try
        {
            var process = FfmpegProcess.Start((tools ?? FfmpegTools.FromEnvironment()).Ffmpeg,
                [.. arguments, "file:" + file.Path], CancellationToken.None);
            return new VideoWriter(format, options, file, process, checked(width * height * 3));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public async Task WriteFramesAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancellationToken = default)
    {
        if (rgb.Length % frameBytes != 0)
            throw new ArgumentException($"{rgb.Length} bytes are not a whole number of frames of {frameBytes} bytes", nameof(rgb));
        ObjectDisposedException.ThrowIf(completed, this);
        cancellationToken.ThrowIfCancellationRequested();
        // A write to a pipe cannot be cancelled, but it ends when the reader is killed.
        await using var killed = cancellationToken.Register(process.Kill);
        try
        {
            await process.Input.WriteAsync(rgb, cancellationToken).ConfigureAwait(false);
            FrameCount += rgb.Length / frameBytes;
        }
        catch (IOException)
        {
            await process.ExitCodeAsync().ConfigureAwait(false);
            cancellationToken.ThrowIfCancellationRequested();
            throw MediaFault.NotWritten(Path, process.Errors);
        }
    }

    /// <summary>Finishes the video and renames it to its final name.</summary>
    /// <param name="cancellationToken">Stops the encoder; disposal then leaves no file behind.</param>
    /// <exception cref="MediaException">No frame was written, or the encoder failed.</exception>
    public async Task CompleteAsync(CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(completed, this);
        completed = true;
        if (FrameCount == 0)
            throw MediaFault.NoFrameWritten(Path);
        await using var killed = cancellationToken.Register(process.Kill);
        try
        {
            process.Input.Close();
        }
        catch (IOException)
        {
            // The encoder has exited; its exit code tells why.
        }

        var exitCode = await process.ExitCodeAsync().ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        // ffmpeg 5 exits with 0 when the disk is full at the trailer. At this log level, any message means lost data.
        if (exitCode != 0 || !process.Errors.IsEmpty)
            throw MediaFault.NotWritten(Path, process.Errors);
        try
        {
            format.Finish(file.Stream, options);
        }
        catch (IOException e)
        {
            throw MediaFault.NotWritten(Path, e);
        }

        file.Commit();
    }

    /// <summary>Stops the encoder if it still runs and deletes an incomplete file.</summary>
    public async ValueTask DisposeAsync()
    {
        completed = true;
        await process.DisposeAsync().ConfigureAwait(false);
        file.Dispose();
    }
}
