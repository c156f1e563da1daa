namespace PyramidFlow.Media;

/// <summary>Where frames of a video go as they come: a file (<see cref="VideoWriter"/>) or whoever reads along
/// (<see cref="VideoStreamWriter"/>). One caller at a time.</summary>
public interface IVideoWriter : IAsyncDisposable
{
    /// <summary>Frames taken so far.</summary>
    long FrameCount { get; }

    /// <summary>Adds frames.</summary>
    /// <param name="rgb">One or more whole frames, 8-bit RGB, [frames, height, width, 3].</param>
    /// <param name="ct">Stops the encoder; the video cannot be continued after that.</param>
    /// <exception cref="ArgumentException">The bytes are not a whole number of frames.</exception>
    /// <exception cref="MediaException">The frames could not be encoded or written.</exception>
    Task WriteFramesAsync(ReadOnlyMemory<byte> rgb, CancellationToken ct = default);

    /// <summary>Finishes the video.</summary>
    /// <param name="ct">Stops the encoder.</param>
    /// <exception cref="MediaException">No frame was written, or the video could not be finished.</exception>
    Task CompleteAsync(CancellationToken ct = default);
}

/// <summary>
/// Writes a video frame by frame as frames come: .mp4 (H.264, yuv420p, BT.709, index first) or .gif. The file appears
/// under its name when <see cref="CompleteAsync"/> returns; disposing earlier leaves nothing behind. One caller at a time.
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
    /// <param name="path">File to write, .mp4 or .gif; its folder is made if need be, an older file is replaced.</param>
    /// <param name="width">Width in pixels; even for .mp4.</param>
    /// <param name="height">Height in pixels; even for .mp4.</param>
    /// <param name="options">Rate, quality and metadata.</param>
    /// <param name="tools">Which ffmpeg; by default what the environment names.</param>
    /// <exception cref="MediaException">A value is impossible, the folder cannot be written, or ffmpeg is missing.</exception>
    public static VideoWriter Create(
        string path, int width, int height, VideoWriterOptions? options = null, FfmpegTools? tools = null)
    {
        options ??= new VideoWriterOptions();
        var format = VideoFormat.Of(path);
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
    public async Task WriteFramesAsync(ReadOnlyMemory<byte> rgb, CancellationToken ct = default)
    {
        if (rgb.Length % frameBytes != 0)
            throw new ArgumentException($"{rgb.Length} bytes are not a whole number of frames of {frameBytes} bytes", nameof(rgb));
        ObjectDisposedException.ThrowIf(completed, this);
        ct.ThrowIfCancellationRequested();
        // A pipe write cannot be interrupted, but it ends at once when the reader is gone.
        await using var killed = ct.Register(process.Kill);
        try
        {
            await process.Input.WriteAsync(rgb, ct).ConfigureAwait(false);
            FrameCount += rgb.Length / frameBytes;
        }
        catch (IOException)
        {
            await process.ExitCodeAsync().ConfigureAwait(false);
            ct.ThrowIfCancellationRequested();
            throw WriteFailure.Of(Path, process.Errors);
        }
    }

    /// <summary>Finishes the video and gives it its name.</summary>
    /// <param name="ct">Stops the encoder; nothing is left behind after disposal.</param>
    /// <exception cref="MediaException">No frame was written, or the encoder failed.</exception>
    public async Task CompleteAsync(CancellationToken ct = default)
    {
        ObjectDisposedException.ThrowIf(completed, this);
        completed = true;
        if (FrameCount == 0)
            throw new MediaException($"{Path} would be empty: no frame was written");
        await using var killed = ct.Register(process.Kill);
        try
        {
            process.Input.Close();
        }
        catch (IOException)
        {
            // The encoder has ended; its exit code says why.
        }

        var exitCode = await process.ExitCodeAsync().ConfigureAwait(false);
        ct.ThrowIfCancellationRequested();
        // ffmpeg 5 ends with 0 when the disk is full at the trailer; at this log level any word means that something was lost.
        if (exitCode != 0 || !process.Errors.IsEmpty)
            throw WriteFailure.Of(Path, process.Errors);
        try
        {
            format.Finish(file.Stream, options);
        }
        catch (IOException e)
        {
            throw WriteFailure.Of(Path, e);
        }

        file.Commit();
    }

    /// <summary>Stops the encoder if it still runs and removes what is not complete.</summary>
    public async ValueTask DisposeAsync()
    {
        completed = true;
        await process.DisposeAsync().ConfigureAwait(false);
        file.Dispose();
    }
}
