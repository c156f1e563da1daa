using Microsoft.Win32.SafeHandles;

namespace PyramidFlow.Media;

/// <summary>
/// Writes a video that can be watched while it is written: fragmented mp4 (H.264, yuv420p, BT.709) to any stream, such as
/// standard output, a socket or a file. Each call of <see cref="WriteFramesAsync"/> sends one fragment that starts with a key
/// frame, and waits until the reader has taken it, so the bytes are a playable video after each call. Each fragment is an
/// encoder run: write as many frames at once as possible. Not thread-safe.
/// </summary>
public sealed class VideoStreamWriter : IVideoWriter
{
    private readonly Stream output;
    private readonly string name;
    private readonly int width;
    private readonly int height;
    private readonly VideoWriterOptions options;
    private readonly FfmpegTools tools;
    private FfmpegProcess? encoder;
    private int fragments;
    private bool ended;
    private bool ownsOutput;
    private bool deleteEmpty;

    private VideoStreamWriter(
        Stream output, string name, int width, int height, VideoWriterOptions options, FfmpegTools tools)
    {
        (this.output, this.name) = (output, name);
        (this.width, this.height, this.options, this.tools) = (width, height, options, tools);
    }

    /// <inheritdoc/>
    public long FrameCount { get; private set; }

    /// <summary>Starts a video in a stream.</summary>
    /// <param name="output">Stream to write to; not disposed. Nothing is written before the first frames.</param>
    /// <param name="name">Name of the stream for error messages, such as "standard output".</param>
    /// <param name="width">Width in pixels, even.</param>
    /// <param name="height">Height in pixels, even.</param>
    /// <param name="options">Rate, quality and metadata.</param>
    /// <param name="tools">The ffmpeg to run; null takes it from the environment.</param>
    /// <exception cref="MediaException">A value is invalid, or ffmpeg is missing.</exception>
    public static VideoStreamWriter Create(Stream output, string name, int width, int height,
        VideoWriterOptions? options = null, FfmpegTools? tools = null)
    {
        options ??= new VideoWriterOptions();
        VideoFormat.FromPath("stream.mp4").Check(options, width, height);
        return Start(new(output, name, width, height, options, tools ?? FfmpegTools.FromEnvironment()));
    }

    /// <summary>
    /// Starts a video in a file that can be read while it grows. It has its final name from the start, and an incomplete video
    /// stays; a new file without frames is deleted.
    /// </summary>
    /// <param name="path">File to write, .mp4. Creates its folder; truncates an existing file.</param>
    /// <param name="width">Width in pixels, even.</param>
    /// <param name="height">Height in pixels, even.</param>
    /// <param name="options">Rate, quality and metadata.</param>
    /// <param name="tools">The ffmpeg to run; null takes it from the environment.</param>
    /// <exception cref="MediaException">A value is invalid, the file cannot be written, or ffmpeg is missing.</exception>
    public static VideoStreamWriter Create(string path, int width, int height,
        VideoWriterOptions? options = null, FfmpegTools? tools = null)
    {
        options ??= new VideoWriterOptions();
        path = Path.GetFullPath(path);
        var format = VideoFormat.FromPath(path);
        if (format is not H264Format)
            throw MediaFault.NoStreamFormat(Path.GetFileName(path));
        format.Check(options, width, height);
        var isNew = !File.Exists(path);
        var writer = new VideoStreamWriter(OpenFile(path), path, width, height, options, tools ?? FfmpegTools.FromEnvironment())
        {
            ownsOutput = true,
            deleteEmpty = isNew,
        };
        try
        {
            return Start(writer);
        }
        catch
        {
            writer.CloseFile();
            throw;
        }
    }

    /// <summary>Encodes frames as one fragment and sends it; returns when the stream has flushed it.</summary>
    /// <param name="rgb">One or more whole frames, 8-bit RGB, [frames, height, width, 3].</param>
    /// <param name="cancellationToken">Stops encoding or sending; the video cannot be continued afterwards.</param>
    /// <exception cref="ArgumentException">The bytes are not a whole number of frames.</exception>
    /// <exception cref="MediaException">The encoder failed, the reader closed the stream, or the disk is full.</exception>
    public async Task WriteFramesAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancellationToken = default)
    {
        var frameBytes = width * height * 3;
        if (rgb.Length % frameBytes != 0)
            throw new ArgumentException($"{rgb.Length} bytes are not a whole number of frames of {frameBytes} bytes", nameof(rgb));
        ObjectDisposedException.ThrowIf(ended, this);
        cancellationToken.ThrowIfCancellationRequested();
        if (rgb.IsEmpty)
            return;
        ended = true;                                                         // until the fragment is sent
        var fragment = await EncodeAsync(rgb, cancellationToken).ConfigureAwait(false);
        await SendAsync(fragment, cancellationToken).ConfigureAwait(false);
        FrameCount += rgb.Length / frameBytes;
        fragments++;
        ended = false;
    }

    /// <inheritdoc/>
    public Task CompleteAsync(CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(ended, this);
        cancellationToken.ThrowIfCancellationRequested();
        ended = true;
        return FrameCount == 0 ? throw MediaFault.NoFrameWritten(name) : Task.CompletedTask;
    }

    /// <summary>Stops the encoder if it still runs; sends nothing more.</summary>
    public async ValueTask DisposeAsync()
    {
        ended = true;
        if (encoder is not null)
            await encoder.DisposeAsync().ConfigureAwait(false);
        encoder = null;
        if (ownsOutput)
            CloseFile();
    }

    private static FileStream OpenFile(string path)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            return new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Directory.Exists(path) ? MediaFault.TargetIsFolder(path, e) : MediaFault.NotWritten(path, e);
        }
    }

    private void CloseFile()
    {
        output.Dispose();
        if (FrameCount == 0 && deleteEmpty)
            File.Delete(name);
    }

    // Starts the first encoder at once, so that a missing ffmpeg is reported before the first frame is computed.
    private static VideoStreamWriter Start(VideoStreamWriter writer)
    {
        writer.encoder = writer.StartEncoder();
        return writer;
    }

    private FfmpegProcess StartEncoder() => FfmpegProcess.Start(tools.Ffmpeg,
        [
            .. VideoFormat.InputArguments(options, width, height),
            .. H264Format.FragmentArguments(options, fragments + 1, FrameCount), "pipe:1",
        ],
        CancellationToken.None);

    private async Task<ReadOnlyMemory<byte>> EncodeAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancellationToken)
    {
        await using var process = encoder ?? StartEncoder();
        encoder = null;
        await using var killed = cancellationToken.Register(process.Kill);
        using var file = new MemoryStream();
        var reading = process.Output.CopyToAsync(file, CancellationToken.None);
        try
        {
            await process.Input.WriteAsync(rgb, CancellationToken.None).ConfigureAwait(false);
            process.Input.Close();
        }
        catch (IOException)
        {
            // The encoder has exited; its exit code tells why.
        }

        await reading.ConfigureAwait(false);
        var exitCode = await process.ExitCodeAsync().ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        if (exitCode != 0 || !process.Errors.IsEmpty)
            throw MediaFault.NotWritten(name, process.Errors);
        return Fragment(file.GetBuffer().AsMemory(0, (int)file.Length));
    }

    // The whole first file; later files without their header.
    private ReadOnlyMemory<byte> Fragment(ReadOnlyMemory<byte> file)
    {
        var boxes = Mp4Boxes.Parse(file.Span);
        var start = boxes.FirstOrDefault(box => box.Type == "moof");
        if (start.Length == 0)
            throw MediaFault.NoFragment(name);
        return fragments == 0 ? file : file[start.Offset..];
    }

    private async Task SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        try
        {
            // A write to a full pipe cannot be cancelled, but the wait for it can.
            await output.WriteAsync(bytes, cancellationToken).AsTask().WaitAsync(cancellationToken).ConfigureAwait(false);
            await output.FlushAsync(cancellationToken).WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (IOException e) when (!MediaFault.IsDiskFull(e) && !ownsOutput)
        {
            throw MediaFault.ReaderClosed(name, FrameCount, e);
        }
        catch (IOException e)
        {
            throw MediaFault.NotWritten(name, e);
        }
    }
}

/// <summary>Standard output as a stream for a <see cref="VideoStreamWriter"/>.</summary>
public static class StandardOutput
{
    /// <summary>
    /// Opens standard output without a buffer. Unlike the stream of the console it fails when the reader has closed the pipe, so
    /// that work can stop. Disposing it leaves standard output open.
    /// </summary>
    public static Stream Open() => Open(descriptor: 1);

    internal static Stream Open(nint descriptor) =>
        new FileStream(new SafeFileHandle(descriptor, ownsHandle: false), FileAccess.Write, bufferSize: 0);
}
