using PyramidFlow.Media;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>
/// Makes an upload the picture or video a new one begins with: decoded, cut to its size and encoded anew. Nothing of what
/// came is kept.
/// </summary>
/// <param name="folder">Where files go.</param>
/// <param name="limits">Bytes, pixels and seconds that are allowed.</param>
internal sealed class UploadReader(VideoFolder folder, ServerLimits limits)
{
    private const string Parameter = "input_reference";
    private const int NearlyLossless = 8;
    private readonly SemaphoreSlim decoders = new(limits.Decoders);

    /// <summary>Reads an upload and keeps what the job of this id begins with.</summary>
    /// <param name="id">The job.</param>
    /// <param name="request">It, every value filled in.</param>
    /// <param name="framesPerSecond">Of the model.</param>
    /// <param name="upload">The upload.</param>
    /// <param name="cancel">Stops the decoder.</param>
    /// <returns>A sentence for the user on what was sent; null when there is nothing to say.</returns>
    /// <exception cref="JobException">It is too large, too long, or no picture or video.</exception>
    public async Task<string?> ReadAsync(string id, VideoRequest request, double framesPerSecond, VideoUpload upload, CancellationToken cancel)
    {
        var isPicture = request.Input!.Kind == VideoInputKind.Image;
        // ffmpeg has to seek in videos, so what came lies in a file for a moment, under a name of ours.
        var path = Path.Combine(folder.Incoming, Guid.NewGuid().ToString("N"));
        try
        {
            await using (var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16, useAsync: true))
                await new LimitedStream(upload.Content, isPicture ? limits.ImageBytes : limits.VideoBytes).CopyToAsync(file, cancel).ConfigureAwait(false);
            await decoders.WaitAsync(cancel).ConfigureAwait(false);
            try
            {
                return await (isPicture ? PictureAsync(id, request, path, cancel) : VideoAsync(id, request, framesPerSecond, path, cancel)).ConfigureAwait(false);
            }
            finally
            {
                decoders.Release();
            }
        }
        catch (MediaException e) when (e.Message.Contains(path, StringComparison.Ordinal))
        {
            throw new JobException(JobFault.Unsupported, Told(e.Message, path, isPicture), e) { Parameter = Parameter };
        }
        finally
        {
            File.Delete(path);
        }
    }

    // Our name of the file tells the user nothing.
    private static string Told(string message, string path, bool isPicture) => message.Replace(path, isPicture ? "the picture" : "the video", StringComparison.Ordinal);

    private async Task<string?> PictureAsync(string id, VideoRequest request, string path, CancellationToken cancel)
    {
        var (width, height) = await ImageReader.MeasureAsync(path, cancel).ConfigureAwait(false);
        CheckPixels("picture", width, height);
        var picture = await ImageReader.ReadAsync(path, request.Width, request.Height, cancel).ConfigureAwait(false);
        PngWriter.Write(folder.InputPicture(id), picture);
        return picture.Warning is { } warning ? Told(warning, path, isPicture: true) : null;
    }

    private async Task<string?> VideoAsync(string id, VideoRequest request, double framesPerSecond, string path, CancellationToken cancel)
    {
        var info = await VideoReader.ProbeAsync(path, cancel).ConfigureAwait(false);
        CheckPixels("video", info.Width, info.Height);
        if (info.Duration.TotalSeconds > limits.VideoSeconds)
            throw TooLong();
        var options = new VideoReadOptions { Width = request.Width, Height = request.Height, Fps = framesPerSecond, MostWork = TimeSpan.FromSeconds(limits.DecodeSeconds) };
        // The container may lie about how long it is.
        var most = (long)(limits.VideoSeconds * framesPerSecond) + 1;
        await using var video = VideoWriter.Create(folder.InputVideo(id), request.Width!.Value, request.Height!.Value, new() { Fps = framesPerSecond, Crf = NearlyLossless });
        await foreach (var frames in VideoReader.ReadAsync(path, options, cancel).ConfigureAwait(false))
        {
            await video.WriteFramesAsync(frames.Rgb, cancel).ConfigureAwait(false);
            if (video.FrameCount > most)
                throw TooLong();
        }

        await video.CompleteAsync(cancel).ConfigureAwait(false);
        return null;
    }

    private void CheckPixels(string what, int width, int height)
    {
        if ((long)width * height > limits.Pixels)
            throw new JobException(JobFault.TooLarge, $"the {what} is {width}x{height}: make it smaller than {limits.Pixels / 1_000_000} megapixels") { Parameter = Parameter };
    }

    private JobException TooLong() =>
        new(JobFault.TooLarge, FormattableString.Invariant($"the video is longer than {limits.VideoSeconds} seconds: send its end only")) { Parameter = Parameter };
}
