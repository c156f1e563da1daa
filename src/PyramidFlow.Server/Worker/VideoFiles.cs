using PyramidFlow.Media;
using PyramidFlow.Generation;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// The files of a video while it is made: one that can be watched as it grows, the video itself, which appears when it is
/// whole, and small pictures of it.
/// </summary>
internal sealed class VideoFiles : IAsyncDisposable
{
    private readonly VideoJob job;
    private readonly VideoFolder folder;
    private readonly IReadOnlyDictionary<string, string> metadata;
    private readonly int width, height;
    private readonly VideoStreamWriter live;
    private readonly VideoWriter video;
    private readonly Spritesheet sheet = new();
    private RgbImage? last;

    /// <param name="job">The video.</param>
    /// <param name="folder">Where its files go.</param>
    /// <param name="notes">How it is made, kept in each of its files.</param>
    public VideoFiles(VideoJob job, VideoFolder folder, GenerationNotes notes)
    {
        (this.job, this.folder, metadata) = (job, folder, notes.Metadata());
        (width, height) = (job.Request.Width!.Value, job.Request.Height!.Value);
        var options = new VideoWriterOptions { Fps = notes.Options.FramesPerSecond!.Value, Title = job.Request.Prompt, Metadata = metadata };
        video = VideoWriter.Create(folder.Video(job.Id, job.Attempt), width, height, options);
        live = VideoStreamWriter.Create(folder.Live(job.Id, job.Attempt), width, height, options);
    }

    /// <summary>Frames so far.</summary>
    public int Frames { get; private set; }

    /// <summary>How many frames there will be beside those that are there: pictures are taken at even distances.</summary>
    public void Expect(int frames) => sheet.Expect(Frames + frames);

    /// <summary>Adds frames.</summary>
    public async Task AddAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancel)
    {
        await live.WriteFramesAsync(rgb, cancel).ConfigureAwait(false);
        await video.WriteFramesAsync(rgb, cancel).ConfigureAwait(false);
        var size = width * height * 3;
        for (var start = 0; start < rgb.Length; start += size)
        {
            last = new RgbImage(width, height, rgb.Slice(start, size));
            sheet.Add(Frames++, last);
        }
    }

    /// <summary>Makes a picture the preview.</summary>
    public void Show(RgbImage picture) => PngWriter.Write(folder.Preview(job.Id, job.Attempt), SmallPicture.Of(picture, SmallPicture.PreviewSide));

    /// <summary>Makes the last frame so far the preview.</summary>
    public void ShowLast() => Show(last ?? throw new InvalidOperationException("there is no frame yet"));

    /// <summary>Gives the files their names; the video comes last, so that the others are there when it is.</summary>
    public async Task CompleteAsync(CancellationToken cancel)
    {
        if (last is null)
            throw new InvalidOperationException("the model made no frame");
        PngWriter.Write(folder.LastFrame(job.Id, job.Attempt), last, metadata);
        PngWriter.Write(folder.Thumbnail(job.Id, job.Attempt), sheet.Middle(), metadata);
        PngWriter.Write(folder.Spritesheet(job.Id, job.Attempt), sheet.Whole(), metadata);
        await live.CompleteAsync(cancel).ConfigureAwait(false);
        await video.CompleteAsync(cancel).ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        await live.DisposeAsync().ConfigureAwait(false);
        await video.DisposeAsync().ConfigureAwait(false);
    }
}
