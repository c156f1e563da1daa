using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>An upload that waits on the disk until the rest of its request has been read; removed when disposed.</summary>
internal sealed class SpooledUpload : IAsyncDisposable
{
    private readonly FileStream file;

    private SpooledUpload(FileStream file, VideoInputKind kind) => (this.file, Kind) = (file, kind);

    /// <summary>What it is, by its first bytes.</summary>
    public VideoInputKind Kind { get; }

    /// <summary>It, from its beginning.</summary>
    public VideoUpload Upload => new(file, "the upload");

    /// <summary>Reads an upload.</summary>
    /// <param name="source">Its bytes.</param>
    /// <param name="folder">Where it waits.</param>
    /// <param name="limits">How large it may be.</param>
    /// <param name="cancel">Stops the reading.</param>
    /// <exception cref="JobException">It is too large, empty, or neither picture nor video.</exception>
    public static async Task<SpooledUpload> ReadAsync(Stream source, VideoFolder folder, ServerLimits limits, CancellationToken cancel)
    {
        var start = new byte[UploadKind.Bytes];
        var count = await source.ReadAtLeastAsync(start, start.Length, throwOnEndOfStream: false, cancel).ConfigureAwait(false);
        if (count == 0)
            throw new JobException(JobFault.Invalid, "the picture or video is empty") { Parameter = "input_reference" };
        var kind = UploadKind.Of(start.AsSpan(0, count))
            ?? throw new JobException(JobFault.Unsupported, "the file is neither a picture (PNG, JPEG, WebP, AVIF, TIFF) nor a video (mp4, webm, mkv, gif)") { Parameter = "input_reference" };
        var path = Path.Combine(folder.Incoming, Guid.NewGuid().ToString("N"));
        var file = new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, 1 << 16, FileOptions.Asynchronous | FileOptions.DeleteOnClose);
        try
        {
            await file.WriteAsync(start.AsMemory(0, count), cancel).ConfigureAwait(false);
            var most = kind == VideoInputKind.Image ? limits.ImageBytes : limits.VideoBytes;
            await new LimitedStream(source, most - count, most).CopyToAsync(file, cancel).ConfigureAwait(false);
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
