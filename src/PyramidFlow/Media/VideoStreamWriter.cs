using Microsoft.Win32.SafeHandles;

namespace PyramidFlow.Media;

/// <summary>
/// Writes a video that can be watched while it is made: fragmented mp4 (H.264, yuv420p, BT.709) into any stream, such as
/// standard output, a socket or a file. Each call of <see cref="WriteFramesAsync"/> sends one whole fragment that starts with
/// a key frame, and waits until the reader has taken it; so the bytes sent are a playable video after each call. Write as
/// many frames at once as there are: each fragment is an encoder run. One caller at a time.
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
    /// <param name="output">Where to write; stays open. Nothing is written before the first frames.</param>
    /// <param name="name">What to call it in an error, such as "standard output".</param>
    /// <param name="width">Width in pixels, even.</param>
    /// <param name="height">Height in pixels, even.</param>
    /// <param name="options">Rate, quality and metadata.</param>
    /// <param name="tools">Which ffmpeg; by default what the environment names.</param>
    /// <exception cref="MediaException">A value is impossible, or ffmpeg is missing.</exception>
    public static VideoStreamWriter Create(Stream output, string name, int width, int height,
        VideoWriterOptions? options = null, FfmpegTools? tools = null)
    {
        options ??= new VideoWriterOptions();
        VideoFormat.Of("stream.mp4").Check(options, width, height);
        return Start(new(output, name, width, height, options, tools ?? FfmpegTools.FromEnvironment()));
    }

    /// <summary>
    /// Starts a video in a file that can be read while it grows, so it has its name from the start; when the video is not
    /// completed, what was written so far stays. A new file with no frame is deleted.
    /// </summary>
    /// <param name="path">File to write, .mp4; its folder is made if need be, an older file is emptied.</param>
    /// <param name="width">Width in pixels, even.</param>
    /// <param name="height">Height in pixels, even.</param>
    /// <param name="options">Rate, quality and metadata.</param>
    /// <param name="tools">Which ffmpeg; by default what the environment names.</param>
    /// <exception cref="MediaException">A value is impossible, the file cannot be written, or ffmpeg is missing.</exception>
    public static VideoStreamWriter Create(string path, int width, int height,
        VideoWriterOptions? options = null, FfmpegTools? tools = null)
    {
        options ??= new VideoWriterOptions();
        path = Path.GetFullPath(path);
        var format = VideoFormat.Of(path);
        if (format is not H264Format)
            throw new MediaException($"only .mp4 can be watched while it is written, {Path.GetFileName(path)} cannot: name it .mp4");
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

    /// <summary>Encodes frames as one fragment and sends it; returns when the stream has taken and flushed it.</summary>
    /// <param name="rgb">One or more whole frames, 8-bit RGB, [frames, height, width, 3].</param>
    /// <param name="ct">Stops the encoder or the sending; the video cannot be continued after that.</param>
    /// <exception cref="ArgumentException">The bytes are not a whole number of frames.</exception>
    /// <exception cref="MediaException">The encoder failed, the reader went away, or the disk is full.</exception>
    public async Task WriteFramesAsync(ReadOnlyMemory<byte> rgb, CancellationToken ct = default)
    {
        var frameBytes = width * height * 3;
        if (rgb.Length % frameBytes != 0)
            throw new ArgumentException($"{rgb.Length} bytes are not a whole number of frames of {frameBytes} bytes", nameof(rgb));
        ObjectDisposedException.ThrowIf(ended, this);
        ct.ThrowIfCancellationRequested();
        if (rgb.IsEmpty)
            return;
        ended = true;                                                         // unless all goes well
        var fragment = await EncodeAsync(rgb, ct).ConfigureAwait(false);
        await SendAsync(fragment, ct).ConfigureAwait(false);
        FrameCount += rgb.Length / frameBytes;
        fragments++;
        ended = false;
    }

    /// <inheritdoc/>
    public Task CompleteAsync(CancellationToken ct = default)
    {
        ObjectDisposedException.ThrowIf(ended, this);
        ct.ThrowIfCancellationRequested();
        ended = true;
        return FrameCount == 0 ? throw new MediaException($"{name} would be empty: no frame was written") : Task.CompletedTask;
    }

    /// <summary>Stops the encoder if it still runs; nothing more is sent.</summary>
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
            throw Directory.Exists(path) ? new MediaException($"{path} is a folder: name a file in it", e) : WriteFailure.Of(path, e);
        }
    }

    private void CloseFile()
    {
        output.Dispose();
        if (FrameCount == 0 && deleteEmpty)
            File.Delete(name);
    }

    // The first encoder starts at once, so that a missing ffmpeg shows before the first frame is computed.
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

    private async Task<ReadOnlyMemory<byte>> EncodeAsync(ReadOnlyMemory<byte> rgb, CancellationToken ct)
    {
        await using var process = encoder ?? StartEncoder();
        encoder = null;
        await using var killed = ct.Register(process.Kill);
        using var file = new MemoryStream();
        var reading = process.Output.CopyToAsync(file, CancellationToken.None);
        try
        {
            await process.Input.WriteAsync(rgb, CancellationToken.None).ConfigureAwait(false);
            process.Input.Close();
        }
        catch (IOException)
        {
            // The encoder has ended; its exit code says why.
        }

        await reading.ConfigureAwait(false);
        var exitCode = await process.ExitCodeAsync().ConfigureAwait(false);
        ct.ThrowIfCancellationRequested();
        if (exitCode != 0 || !process.Errors.IsEmpty)
            throw WriteFailure.Of(name, process.Errors);
        return Fragment(file.GetBuffer().AsMemory(0, (int)file.Length));
    }

    // All of the first file; of later ones what follows the index.
    private ReadOnlyMemory<byte> Fragment(ReadOnlyMemory<byte> file)
    {
        var boxes = Mp4Boxes.Of(file.Span);
        var start = boxes.FirstOrDefault(box => box.Type == "moof");
        if (start.Length == 0)
            throw new MediaException($"ffmpeg could not write {name}: it gave no fragment");
        return fragments == 0 ? file : file[start.Offset..];
    }

    private async Task SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken ct)
    {
        try
        {
            // A write to a pipe that nobody empties cannot be interrupted, but need not be waited for.
            await output.WriteAsync(bytes, ct).AsTask().WaitAsync(ct).ConfigureAwait(false);
            await output.FlushAsync(ct).WaitAsync(ct).ConfigureAwait(false);
        }
        catch (IOException e) when (!WriteFailure.IsDiskFull(e) && !ownsOutput)
        {
            throw new MediaException($"{name} was closed by its reader after {FrameCount} {(FrameCount == 1 ? "frame" : "frames")}: {e.Message}", e);
        }
        catch (IOException e)
        {
            throw WriteFailure.Of(name, e);
        }
    }
}

/// <summary>This program's standard output as a stream for a <see cref="VideoStreamWriter"/>.</summary>
public static class StandardOutput
{
    /// <summary>
    /// Opens it without a buffer. Unlike the console's stream it fails when nobody reads any more, so that work can stop.
    /// Closing it leaves standard output open.
    /// </summary>
    public static Stream Open() => Open(descriptor: 1);

    internal static Stream Open(nint descriptor) =>
        new FileStream(new SafeFileHandle(descriptor, ownsHandle: false), FileAccess.Write, bufferSize: 0);
}
