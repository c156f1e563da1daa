using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Torch;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>A batch of clips from one bucket.</summary>
/// <param name="Bucket">Size and length of the clips.</param>
/// <param name="Rgb">Frames of each clip, [t, h, w, 3] bytes.</param>
/// <param name="Captions">Caption of each clip; empty if it has none.</param>
/// <param name="Lines">Annotation of each clip.</param>
internal sealed record ClipBatch(Bucket Bucket, IReadOnlyList<byte[]> Rgb, IReadOnlyList<string> Captions, IReadOnlyList<Annotation> Lines)
{
    /// <summary>The clips as input of a VAE: float32 in -1 to 1, [b, 3, t, h, w].</summary>
    /// <param name="device">Target device; null is the CPU.</param>
    public Tensor Pixels(Device? device = null)
    {
        using var scope = new TensorScope();
        Tensor[] clips = [.. Rgb.Select(clip => FrameBytes.ToPixels(clip, Bucket.Width, Bucket.Height))];       // [1, 3, t, h, w]
        var pixels = clips.Length == 1 ? clips[0] : Tensor.Cat(clips, 0);
        return scope.Keep(pixels.To(device ?? Device.Cpu));
    }
}

/// <summary>Scans the headers of videos and images.</summary>
/// <param name="buckets">Sizes and lengths.</param>
/// <param name="framesPerSecond">Frame rate that videos are resampled to; null keeps the stored frames.</param>
/// <param name="mostEnlarged">Largest upscaling factor of an original.</param>
/// <param name="captions">Whether every item needs a caption.</param>
internal sealed class ClipScanner(Buckets buckets, double? framesPerSecond, double mostEnlarged, bool captions) : IItemScanner
{
    // Durations in headers are rounded, which must not cost the last frame.
    private const double Rounding = 1e-3;

    /// <inheritdoc/>
    public async ValueTask<DataItem> ScanAsync(Annotation annotation, CancellationToken cancellationToken)
    {
        if (captions && annotation.Text is null)
            throw new BadItemException(DataFaultKind.NoCaption, TrainingFault.CaptionMissing(annotation.CaptionFile));
        if (annotation.Image is { } image)
        {
            var picture = await ItemFile.ReadHeaderAsync(annotation, image, async file =>
            {
                var (width, height) = await MediaFaults.GuardAsync(file, () => ImageReader.MeasureAsync(file, cancellationToken)).ConfigureAwait(false);
                return new MemberHeader { Width = width, Height = height };
            }, cancellationToken).ConfigureAwait(false);
            return new DataItem(annotation, CheckSize(image, picture.Width, picture.Height, buckets.Nearest(picture.Width, picture.Height, frames: null)!.Value));
        }

        if (annotation.Video is not { } video)
            throw new BadItemException(DataFaultKind.Line, TrainingFault.MediaMissing());
        var info = await ItemFile.ReadHeaderAsync(annotation, video, async file =>
        {
            var found = await MediaFaults.GuardAsync(file, () => VideoReader.ProbeAsync(file, cancellationToken)).ConfigureAwait(false);
            return new MemberHeader { Width = found.Width, Height = found.Height, Fps = found.Fps, Frames = found.FrameCount, Ticks = found.Duration.Ticks };
        }, cancellationToken).ConfigureAwait(false);
        // A line that names frames which the video does not have is about another video, or about another cut of it.
        if (annotation.Frames is [.., var last] && info.Frames is { } count && last >= count)
            throw new BadItemException(DataFaultKind.TooShort, TrainingFault.FramesBeyondEnd(video, last, count));
        var seconds = TimeSpan.FromTicks(info.Ticks).TotalSeconds;
        var frames = Frames(annotation, info, seconds);
        var bucket = buckets.Nearest(info.Width, info.Height, frames) ?? throw TooShort(video, frames, seconds);
        return new DataItem(annotation, CheckSize(video, info.Width, info.Height, bucket), seconds, info.Fps);
    }

    /// <inheritdoc/>
    public IReadOnlyList<string?> Files(Annotation annotation) => [annotation.Media];

    private int Frames(Annotation annotation, MemberHeader info, double seconds)
    {
        var stored = info.Frames ?? (long)Math.Round(seconds * info.Fps);
        var frames = annotation.Frames is { } chosen ? chosen.Count(frame => frame < stored)
            : framesPerSecond is { } rate ? (seconds * rate) + Rounding
            : stored;
        return (int)Math.Min(frames, int.MaxValue);
    }

    private BadItemException TooShort(string path, int frames, double seconds) => new(DataFaultKind.TooShort, seconds == 0
        ? TrainingFault.NoDuration(path)
        : TrainingFault.VideoTooShort(path, frames, framesPerSecond, seconds, buckets.Shortest));

    private Bucket CheckSize(string path, int width, int height, Bucket bucket)
    {
        var enlarged = Math.Max((double)bucket.Width / width, (double)bucket.Height / height);
        return enlarged <= mostEnlarged
            ? bucket
            : throw new BadItemException(DataFaultKind.TooSmall,
                TrainingFault.PictureTooSmall(path, $"{width}x{height}", enlarged, $"{bucket.Width}x{bucket.Height}", mostEnlarged));
    }
}

/// <summary>Decodes clips to the size and length of their bucket.</summary>
/// <param name="framesPerSecond">Frame rate that videos are resampled to; null keeps the stored frames.</param>
/// <param name="randomStart">Whether a clip may start anywhere in its video; otherwise it starts at the first frame.</param>
internal sealed class ClipReader(double? framesPerSecond, bool randomStart)
{
    /// <summary>Reads a clip.</summary>
    /// <param name="item">The item.</param>
    /// <param name="draws">Random numbers for the start of the clip.</param>
    /// <param name="cancellationToken">Cancels the decoder.</param>
    /// <returns>RGB, [frames, height, width, 3].</returns>
    /// <exception cref="BadItemException">The file is damaged, or has fewer frames than its header states.</exception>
    public Task<byte[]> ReadAsync(DataItem item, KeyedRandom draws, CancellationToken cancellationToken)
    {
        var (annotation, bucket) = (item.Annotation, item.Bucket);
        return ItemFile.ReadAsync(annotation, annotation.Media!, file => MediaFaults.GuardAsync(file, () => annotation.Image is not null ? PictureAsync(file, bucket, cancellationToken)
            : annotation.Frames is { } frames ? ChosenAsync(file, bucket, frames, cancellationToken)
            : InARowAsync(file, bucket, Start(item, draws), cancellationToken)), cancellationToken);
    }

    /// <summary>Decodes everything that <see cref="ReadAsync"/> may return for an item, for any start of the clip.</summary>
    /// <param name="item">The item.</param>
    /// <param name="cancellationToken">Cancels the decoder.</param>
    /// <returns>A warning about a damaged but readable picture, or null.</returns>
    /// <exception cref="BadItemException">A part is damaged, or there are fewer frames than the header states.</exception>
    public async Task<string?> CheckAsync(DataItem item, CancellationToken cancellationToken)
    {
        var (annotation, bucket) = (item.Annotation, item.Bucket);
        if (annotation.Image is { } image)
        {
            return await ItemFile.ReadAsync(annotation, image, async file =>
            {
                var picture = await MediaFaults.GuardAsync(file, () => ImageReader.ReadAsync(file, bucket.Width, bucket.Height, cancellationToken)).ConfigureAwait(false);
                return picture.Warning?.Replace(file, image, StringComparison.Ordinal);
            }, cancellationToken).ConfigureAwait(false);
        }

        if (!randomStart || annotation.Frames is not null || item.FramesPerSecond <= 0)
        {
            await ReadAsync(item, new KeyedRandom(0), cancellationToken).ConfigureAwait(false);
            return null;
        }

        // Allow for one frame less: resampling may lose the last one.
        var promised = Math.Max(bucket.Frames, (int)((item.Seconds - (1 / item.FramesPerSecond)) * (framesPerSecond ?? item.FramesPerSecond)) - 1);
        var found = await ItemFile.ReadAsync(annotation, annotation.Video!, file => MediaFaults.GuardAsync(file, () => CountAsync(file, bucket, cancellationToken)), cancellationToken).ConfigureAwait(false);
        return found >= promised ? null : throw Short(annotation.Video!, found, promised);
    }

    private static async Task<byte[]> PictureAsync(string path, Bucket bucket, CancellationToken cancellationToken) =>
        (await ImageReader.ReadAsync(path, bucket.Width, bucket.Height, cancellationToken).ConfigureAwait(false)).Pixels.ToArray();

    private async Task<int> CountAsync(string path, Bucket bucket, CancellationToken cancellationToken)
    {
        var found = 0;
        await foreach (var chunk in VideoReader.ReadAsync(path, new() { Width = bucket.Width, Height = bucket.Height, Fps = framesPerSecond }, cancellationToken).ConfigureAwait(false))
            found += chunk.Count;
        return found;
    }

    private TimeSpan Start(DataItem item, KeyedRandom draws)
    {
        if (!randomStart || item.FramesPerSecond <= 0)
            return TimeSpan.Zero;
        // The first frame after the start may come one stored frame late.
        var rate = framesPerSecond ?? item.FramesPerSecond;
        var spare = item.Seconds - (item.Bucket.Frames / rate) - (1 / item.FramesPerSecond);
        return TimeSpan.FromSeconds(Math.Max(0, spare) * draws.NextSingle());
    }

    private async Task<byte[]> InARowAsync(string path, Bucket bucket, TimeSpan start, CancellationToken cancellationToken)
    {
        var options = new VideoReadOptions
        {
            Width = bucket.Width, Height = bucket.Height, Fps = framesPerSecond, Start = start, MaxFrames = bucket.Frames, FramesPerChunk = bucket.Frames,
        };
        var found = 0;
        await foreach (var chunk in VideoReader.ReadAsync(path, options, cancellationToken).ConfigureAwait(false))
        {
            if (chunk.Count == bucket.Frames)
                return chunk.Rgb.ToArray();
            found = chunk.Count;
        }

        throw Short(path, found, bucket.Frames);
    }

    // The listed frames in the order of the video, at most as many as the clip has.
    private static async Task<byte[]> ChosenAsync(string path, Bucket bucket, IReadOnlyList<int> frames, CancellationToken cancellationToken)
    {
        var wanted = frames.Take(bucket.Frames).ToList();
        var clip = new byte[(long)bucket.Frames * bucket.Width * bucket.Height * 3];
        var (read, found) = (0, 0);
        var options = new VideoReadOptions { Width = bucket.Width, Height = bucket.Height, MaxFrames = wanted[^1] + 1 };
        await foreach (var chunk in VideoReader.ReadAsync(path, options, cancellationToken).ConfigureAwait(false))
        {
            for (; found < wanted.Count && wanted[found] < read + chunk.Count; found++)
                chunk.Frame(wanted[found] - read).Pixels.CopyTo(clip.AsMemory(found * bucket.Width * bucket.Height * 3));
            read += chunk.Count;
        }

        return found == bucket.Frames ? clip : throw Short(path, found, bucket.Frames);
    }

    private static BadItemException Short(string path, int found, int promised) =>
        new(DataFaultKind.TooShort, TrainingFault.FramesMissing(path, found, promised));
}
