using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// The files of a video while it is made: a growing live stream, the video itself, which appears when complete, and
/// small pictures of it.
/// </summary>
/// <param name="job">The video.</param>
/// <param name="folder">Folder of the files.</param>
/// <param name="keeper">Learns of new frames and previews when their files are written.</param>
internal sealed class VideoFiles(VideoJob job, VideoFolder folder, LeaseKeeper keeper) : IFrameSink, IProgress<GenerationProgress>, IAsyncDisposable
{
    private readonly int width = job.Request.Width!.Value, height = job.Request.Height!.Value;
    private readonly Spritesheet sheet = new();
    private GenerationNotes? notes;
    private VideoStreamWriter? live;
    private VideoWriter? video;
    private RgbImage? last;

    /// <summary>The notes of a video that was changed while it was made, from those at its beginning; null where it was not changed.</summary>
    public Func<GenerationNotes, GenerationNotes?> AsMade { get; init; } = _ => null;

    /// <summary>Number of frames so far.</summary>
    public int Frames { get; private set; }

    /// <summary>Announces the number of further frames, so that pictures are taken at even distances.</summary>
    public void Expect(int frames) => sheet.Expect(Frames + frames);

    /// <summary>Starts the video and its live stream.</summary>
    public void Begin(GenerationNotes notes)
    {
        this.notes = notes;
        var options = Options(notes);
        video = VideoWriter.Create(folder.Video(job.Id, job.Attempt), width, height, options);
        live = VideoStreamWriter.Create(folder.Live(job.Id, job.Attempt), width, height, options);
    }

    /// <summary>Adds frames.</summary>
    public async Task WriteAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancellationToken)
    {
        await live!.WriteFramesAsync(rgb, cancellationToken).ConfigureAwait(false);
        await video!.WriteFramesAsync(rgb, cancellationToken).ConfigureAwait(false);
        var size = width * height * 3;
        for (var start = 0; start < rgb.Length; start += size)
        {
            last = new RgbImage(width, height, rgb.Slice(start, size));
            sheet.Add(Frames++, last);
        }
    }

    /// <summary>Shows the last frame, and tells how many frames can be watched.</summary>
    public void ChunkDone(VideoChunk chunk)
    {
        keeper.Streamed(Frames);
        Show(last ?? throw new InvalidOperationException("there is no frame yet"));
    }

    /// <summary>Writes the preview of a progress report, then passes the report on.</summary>
    public void Report(GenerationProgress value)
    {
        if (value.Preview is { } picture)
            Show(picture);
        keeper.Report(value);
    }

    /// <summary>Completes the files and gives them their names; the video comes last, so that the others exist when it appears.</summary>
    public async Task CompleteAsync(CancellationToken cancellationToken)
    {
        if (last is null)
            throw new InvalidOperationException("the model made no frame");
        var asMade = AsMade(notes!);
        var metadata = (asMade ?? notes!).Metadata();
        PngWriter.Write(folder.LastFrame(job.Id, job.Attempt), last, metadata);
        PngWriter.Write(folder.Thumbnail(job.Id, job.Attempt), sheet.Middle(), metadata);
        PngWriter.Write(folder.Spritesheet(job.Id, job.Attempt), sheet.Whole(), metadata);
        await live!.CompleteAsync(cancellationToken).ConfigureAwait(false);
        await video!.CompleteAsync(cancellationToken).ConfigureAwait(false);
        // The file was begun with what was planned.
        if (asMade is not null)
            await VideoTexts.ReplaceAsync(video.Path, Options(asMade), cancellationToken).ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        if (live is not null)
            await live.DisposeAsync().ConfigureAwait(false);
        if (video is not null)
            await video.DisposeAsync().ConfigureAwait(false);
    }

    private VideoWriterOptions Options(GenerationNotes of) => new() { Fps = of.Options.FramesPerSecond!.Value, Title = job.Request.Prompt, Metadata = of.Metadata() };

    private void Show(RgbImage picture)
    {
        PngWriter.Write(folder.Preview(job.Id, job.Attempt), SmallPicture.Downscale(picture, SmallPicture.PreviewSide));
        keeper.Previewed();
    }
}

/// <summary>Small pictures of up to 16 moments of a video in rows of 4. Only these are kept in memory, whatever the length of the video.</summary>
internal sealed class Spritesheet
{
    private const int Most = 16, Columns = 4;
    private readonly List<RgbImage> pictures = [];
    private RgbImage? middle;
    private int total = 1, next, count;

    /// <summary>Sets the expected number of frames.</summary>
    public void Expect(int frames) => total = frames;

    /// <summary>Adds a frame.</summary>
    /// <param name="number">Index from 0.</param>
    /// <param name="frame">The frame.</param>
    public void Add(int number, RgbImage frame)
    {
        count = number + 1;
        if (middle is null || number == total / 2)
            middle = SmallPicture.Downscale(frame, SmallPicture.ThumbnailSide);
        if (number < next || pictures.Count == Most)
            return;
        pictures.Add(SmallPicture.Downscale(frame, SmallPicture.ThumbnailSide));
        next = Math.Max(number + 1, pictures.Count * total / Most);
    }

    /// <summary>Returns the picture of the middle of the video; of a video that was ended early, the one nearest to it that there is.</summary>
    public RgbImage Middle() => count > total / 2 ? middle! : pictures[pictures.Count / 2];

    /// <summary>Returns all pictures as one; the rest of the last row is black.</summary>
    public RgbImage Whole()
    {
        var pictures = this.pictures.ConvertAll(picture => SmallPicture.Downscale(picture, SmallPicture.SheetSide));
        var (width, height) = (pictures[0].Width, pictures[0].Height);
        var columns = Math.Min(Columns, pictures.Count);
        var rows = (pictures.Count + Columns - 1) / Columns;
        var pixels = new byte[columns * width * rows * height * 3];
        foreach (var (i, picture) in pictures.Index())
        {
            for (var y = 0; y < height; y++)
            {
                var line = ((((i / Columns * height) + y) * columns) + (i % Columns)) * width * 3;
                picture.Pixels.Slice(y * width * 3, width * 3).CopyTo(pixels.AsMemory(line));
            }
        }

        return new RgbImage(columns * width, rows * height, pixels);
    }
}

/// <summary>Downscales pictures.</summary>
internal static class SmallPicture
{
    /// <summary>Longest side of a preview, a thumbnail and a picture of a spritesheet, in pixels.</summary>
    public const int PreviewSide = 512, ThumbnailSide = 320, SheetSide = 160;

    /// <summary>Downscales a picture to a maximum length of its longer side: each pixel is the mean of those it covers.</summary>
    public static RgbImage Downscale(RgbImage picture, int side)
    {
        var (w, h) = (picture.Width, picture.Height);
        if (Math.Max(w, h) <= side)
            return picture;
        var (width, height) = (Math.Max(1, w * side / Math.Max(w, h)), Math.Max(1, h * side / Math.Max(w, h)));
        var from = picture.Pixels.Span;
        var to = new byte[width * height * 3];
        for (var y = 0; y < height; y++)
        {
            var (top, bottom) = (y * h / height, Math.Max((y * h / height) + 1, (y + 1) * h / height));
            for (var x = 0; x < width; x++)
            {
                var (left, right) = (x * w / width, Math.Max((x * w / width) + 1, (x + 1) * w / width));
                var (red, green, blue) = (0, 0, 0);
                for (var row = top; row < bottom; row++)
                {
                    for (var i = ((row * w) + left) * 3; i < ((row * w) + right) * 3; i += 3)
                        (red, green, blue) = (red + from[i], green + from[i + 1], blue + from[i + 2]);
                }

                var (count, o) = ((bottom - top) * (right - left), ((y * width) + x) * 3);
                (to[o], to[o + 1], to[o + 2]) = ((byte)(red / count), (byte)(green / count), (byte)(blue / count));
            }
        }

        return new RgbImage(width, height, to);
    }
}
