using System.Buffers;
using System.Buffers.Text;
using PyramidFlow.Media;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>
/// Converts an upload to the picture or video that a new video begins with: decoded, scaled and encoded anew. No
/// original bytes are kept.
/// </summary>
/// <param name="folder">Folder of the files.</param>
/// <param name="limits">Limits on bytes, pixels and seconds.</param>
internal sealed class UploadReader(VideoFolder folder, ServerLimits limits)
{
    private const int NearlyLossless = 8;
    private readonly SemaphoreSlim decoders = new(limits.Decoders);

    /// <summary>Reads an upload and stores the input of a job.</summary>
    /// <param name="id">Id of the job.</param>
    /// <param name="request">The request with all defaults filled in.</param>
    /// <param name="framesPerSecond">Frames per second of the model.</param>
    /// <param name="upload">The upload.</param>
    /// <param name="cancellationToken">Stops the decoder.</param>
    /// <returns>A warning for the user; null for none.</returns>
    /// <exception cref="JobException">The upload is too large, too long, or no picture or video.</exception>
    public async Task<string?> ReadAsync(string id, VideoRequest request, double framesPerSecond, VideoUpload upload, CancellationToken cancellationToken)
    {
        var isPicture = request.Input!.Kind == VideoInputKind.Image;
        // ffmpeg has to seek in videos, so the upload is written to a temporary file with a generated name.
        var path = Path.Combine(folder.Incoming, Guid.NewGuid().ToString("N"));
        try
        {
            await using (var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16, useAsync: true))
                await new LimitedStream(upload.Content, isPicture ? limits.ImageBytes : limits.VideoBytes).CopyToAsync(file, cancellationToken).ConfigureAwait(false);
            await decoders.WaitAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                return await (isPicture ? PictureAsync(id, request, path, cancellationToken) : VideoAsync(id, request, framesPerSecond, path, cancellationToken)).ConfigureAwait(false);
            }
            finally
            {
                decoders.Release();
            }
        }
        catch (MediaException e) when (e.Parameters.GetValueOrDefault("file") is string file && file == path)
        {
            throw ServiceFault.Upload(e, path, isPicture);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private async Task<string?> PictureAsync(string id, VideoRequest request, string path, CancellationToken cancellationToken)
    {
        var (width, height) = await ImageReader.MeasureAsync(path, cancellationToken).ConfigureAwait(false);
        CheckPixels("picture", width, height);
        var picture = await ImageReader.ReadAsync(path, request.Width, request.Height, cancellationToken).ConfigureAwait(false);
        PngWriter.Write(folder.InputPicture(id), picture);
        return picture.Warning is { } warning ? ServiceFault.WithoutPath(warning, path, isPicture: true) : null;
    }

    private async Task<string?> VideoAsync(string id, VideoRequest request, double framesPerSecond, string path, CancellationToken cancellationToken)
    {
        var info = await VideoReader.ProbeAsync(path, cancellationToken).ConfigureAwait(false);
        CheckPixels("video", info.Width, info.Height);
        if (info.Duration.TotalSeconds > limits.VideoSeconds)
            throw ServiceFault.UploadTooLong(limits.VideoSeconds);
        var options = new VideoReadOptions { Width = request.Width, Height = request.Height, Fps = framesPerSecond, MostWork = TimeSpan.FromSeconds(limits.DecodeSeconds) };
        // The duration in the container may be wrong.
        var most = (long)(limits.VideoSeconds * framesPerSecond) + 1;
        await using var video = VideoWriter.Create(folder.InputVideo(id), request.Width!.Value, request.Height!.Value, new() { Fps = framesPerSecond, Crf = NearlyLossless });
        await foreach (var frames in VideoReader.ReadAsync(path, options, cancellationToken).ConfigureAwait(false))
        {
            await video.WriteFramesAsync(frames.Rgb, cancellationToken).ConfigureAwait(false);
            if (video.FrameCount > most)
                throw ServiceFault.UploadTooLong(limits.VideoSeconds);
        }

        await video.CompleteAsync(cancellationToken).ConfigureAwait(false);
        return null;
    }

    private void CheckPixels(string what, int width, int height)
    {
        if ((long)width * height > limits.Pixels)
            throw ServiceFault.UploadTooManyPixels(what, width, height, limits.Pixels);
    }
}

/// <summary>An upload on disk until the rest of its request has been read; disposing it removes the file.</summary>
internal sealed class SpooledUpload : IAsyncDisposable
{
    private readonly FileStream file;

    private SpooledUpload(FileStream file, VideoInputKind kind) => (this.file, Kind) = (file, kind);

    /// <summary>Kind of the upload, determined from its first bytes.</summary>
    public VideoInputKind Kind { get; }

    /// <summary>The upload, from its beginning.</summary>
    public VideoUpload Upload => new(file, "the upload");

    /// <summary>Reads an upload.</summary>
    /// <param name="source">The bytes.</param>
    /// <param name="folder">Folder of the temporary file.</param>
    /// <param name="limits">Limits on its size.</param>
    /// <param name="cancellationToken">Stops the reading.</param>
    /// <exception cref="JobException">The upload is too large, empty, or neither picture nor video.</exception>
    public static async Task<SpooledUpload> ReadAsync(Stream source, VideoFolder folder, ServerLimits limits, CancellationToken cancellationToken)
    {
        var start = new byte[UploadKind.Bytes];
        var count = await source.ReadAtLeastAsync(start, start.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        if (count == 0)
            throw ServiceFault.UploadEmpty();
        var kind = UploadKind.Detect(start.AsSpan(0, count)) ?? throw ServiceFault.UploadOfOtherKind();
        var path = Path.Combine(folder.Incoming, Guid.NewGuid().ToString("N"));
        var file = new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, 1 << 16, FileOptions.Asynchronous | FileOptions.DeleteOnClose);
        try
        {
            await file.WriteAsync(start.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
            var most = kind == VideoInputKind.Image ? limits.ImageBytes : limits.VideoBytes;
            await new LimitedStream(source, most - count, most).CopyToAsync(file, cancellationToken).ConfigureAwait(false);
            file.Position = 0;
            return new SpooledUpload(file, kind);
        }
        catch
        {
            await file.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public ValueTask DisposeAsync() => file.DisposeAsync();
}

/// <summary>Determines the kind of a file from its first bytes; claims of the sender are ignored.</summary>
internal static class UploadKind
{
    /// <summary>Number of bytes needed.</summary>
    public const int Bytes = 16;

    /// <summary>Returns the kind of a file; null for neither.</summary>
    /// <param name="start">The first <see cref="Bytes"/> bytes, or all of a shorter file.</param>
    public static VideoInputKind? Detect(ReadOnlySpan<byte> start)
    {
        if (Begins(start, 0x89, 'P', 'N', 'G') || Begins(start, 0xff, 0xd8, 0xff) || start.StartsWith("BM"u8) || start.StartsWith("qoif"u8) || start.StartsWith("II*\0"u8) || start.StartsWith("MM\0*"u8) || Is(start, "RIFF"u8, "WEBP"u8))
            return VideoInputKind.Image;
        if (start.StartsWith("GIF8"u8) || Begins(start, 0x1a, 0x45, 0xdf, 0xa3) || Is(start, "RIFF"u8, "AVI "u8) || start.StartsWith("OggS"u8)
            || start.StartsWith("FLV"u8) || Begins(start, 0, 0, 1, 0xba))
            return VideoInputKind.Video;
        if (start.Length < 12 || !start[4..].StartsWith("ftyp"u8))
            return null;
        // AVIF and HEIF pictures use the container of mp4.
        return start[8..].StartsWith("avif"u8) || start[8..].StartsWith("mif1"u8) || start[8..].StartsWith("hei"u8) ? VideoInputKind.Image : VideoInputKind.Video;
    }

    private static bool Begins(ReadOnlySpan<byte> start, params ReadOnlySpan<int> bytes)
    {
        for (var i = 0; i < bytes.Length; i++)
        {
            if (i >= start.Length || start[i] != bytes[i])
                return false;
        }

        return true;
    }

    private static bool Is(ReadOnlySpan<byte> start, ReadOnlySpan<byte> first, ReadOnlySpan<byte> type) =>
        start.StartsWith(first) && start.Length >= 12 && start[8..].StartsWith(type);
}

/// <summary>Files in a request as text: <c>data:image/png;base64,...</c>.</summary>
internal static class DataUrl
{
    private const string Start = "data:", Marker = ";base64,";
    private const int LongestHead = 200;

    /// <summary>
    /// Returns the decoded bytes of a data URL as a stream that decodes while it is read. The result holds no resources and need not be disposed.
    /// </summary>
    /// <param name="text">The URL in ASCII; stays open.</param>
    /// <param name="cancellationToken">Stops the reading.</param>
    /// <exception cref="JobException">
    /// The URL is of another kind. Other URLs are not fetched: the service would give access to networks that its users
    /// cannot reach.
    /// </exception>
    public static async Task<Stream> OpenAsync(Stream text, CancellationToken cancellationToken)
    {
        var (head, one) = (new System.Text.StringBuilder(), new byte[1]);
        while (head.Length < LongestHead && await text.ReadAsync(one, cancellationToken).ConfigureAwait(false) == 1)
        {
            head.Append((char)one[0]);
            if (one[0] == ',' && head.ToString() is var url && url.StartsWith(Start, StringComparison.Ordinal) && url.EndsWith(Marker, StringComparison.Ordinal))
                return new Base64Stream(text);
        }

        throw ServiceFault.NotDataUrl();
    }
}

/// <summary>
/// Decodes Base64 from a stream. White space is ignored. <c>FromBase64Transform</c> is not used: it ignores an incomplete end, so a truncated
/// text would go unnoticed, and throws an <see cref="ArgumentException"/> for some white space.
/// </summary>
/// <param name="text">Base64 in ASCII; stays open.</param>
internal sealed class Base64Stream(Stream text) : ReadOnlyStream
{
    private const int Quad = 4;

    // Text that is not decoded yet. Its last four characters wait for the end, since only the last ones may be padding.
    private readonly byte[] waiting = new byte[16 << 10];
    private int count;
    private ReadOnlyMemory<byte> decoded;
    private bool isOver;

    /// <inheritdoc/>
    /// <exception cref="FormatException">The text is not Base64, or ends in the middle of a block.</exception>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (decoded.IsEmpty && !isOver)
        {
            var read = await text.ReadAsync(waiting.AsMemory(count), cancellationToken).ConfigureAwait(false);
            isOver = read == 0;
            foreach (var letter in waiting.AsSpan(count, read))
            {
                if (letter is not ((byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n'))
                    waiting[count++] = letter;
            }

            decoded = Decode(isOver ? count : (count - 1) / Quad * Quad);
        }

        var part = decoded[..Math.Min(decoded.Length, buffer.Length)];
        part.CopyTo(buffer);
        decoded = decoded[part.Length..];
        return part.Length;
    }

    private byte[] Decode(int length)
    {
        if (length <= 0)
            return [];
        var bytes = new byte[length / Quad * 3];
        if (Base64.DecodeFromUtf8(waiting.AsSpan(0, length), bytes, out _, out var written, isOver) != OperationStatus.Done)
            throw new FormatException("the text is not Base64, or ends in the middle of a block");
        waiting.AsSpan(length, count - length).CopyTo(waiting);
        count -= length;
        return bytes[..written];
    }
}

/// <summary>A stream that throws as soon as it exceeds a length, whatever its sender declared.</summary>
/// <param name="inner">The source; stays open.</param>
/// <param name="most">Maximum number of bytes.</param>
/// <param name="limit">The limit to name in the error, if part of the source was read before.</param>
internal sealed class LimitedStream(Stream inner, long most, long? limit = null) : ReadOnlyStream
{
    private long read;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var bytes = await inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        read += bytes;
        return read <= most ? bytes : throw ServiceFault.UploadTooLarge(limit ?? most);
    }
}

/// <summary>A stream for a single asynchronous read.</summary>
internal abstract class ReadOnlyStream : Stream
{
    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public abstract override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default);

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
