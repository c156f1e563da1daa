using PyramidFlow.Media;

namespace PyramidFlow.Training.Data;

/// <summary>Places videos and images by their headers.</summary>
/// <param name="buckets">Sizes and lengths.</param>
/// <param name="framesPerSecond">Rate videos are brought to; null takes frames as stored.</param>
/// <param name="mostEnlarged">How many times an original may be enlarged.</param>
/// <param name="captions">Whether every item needs a caption.</param>
internal sealed class ClipLook(Buckets buckets, double? framesPerSecond, double mostEnlarged, bool captions) : IDataLook
{
    // A duration in a header is rounded; a frame's worth of it must not cost the last frame.
    private const double Rounding = 1e-3;

    /// <inheritdoc/>
    public async ValueTask<DataItem> PlaceAsync(Annotation annotation, CancellationToken cancel)
    {
        if (captions && annotation.Text is null)
            throw new BadItemException(DataFaultKind.Line, "it has no text: give every item a caption");
        if (annotation.Image is { } image)
        {
            var (width, height) = await MediaFaults.GuardAsync(image, () => ImageReader.MeasureAsync(image, cancel)).ConfigureAwait(false);
            return new DataItem(annotation, CheckSize(image, width, height, buckets.Nearest(width, height, frames: null)!.Value));
        }

        if (annotation.Video is not { } video)
            throw new BadItemException(DataFaultKind.Line, "it has no video or image");
        var info = await MediaFaults.GuardAsync(video, () => VideoReader.ProbeAsync(video, cancel)).ConfigureAwait(false);
        var bucket = buckets.Nearest(info.Width, info.Height, Frames(annotation, info)) ?? throw TooShort(video, Frames(annotation, info), info);
        return new DataItem(annotation, CheckSize(video, info.Width, info.Height, bucket), info.Duration.TotalSeconds, info.Fps);
    }

    private int Frames(Annotation annotation, VideoInfo info)
    {
        var stored = info.FrameCount ?? (long)Math.Round(info.Duration.TotalSeconds * info.Fps);
        var frames = annotation.Frames is { } chosen ? chosen.Count(frame => frame < stored)
            : framesPerSecond is { } rate ? (info.Duration.TotalSeconds * rate) + Rounding
            : stored;
        return (int)Math.Min(frames, int.MaxValue);
    }

    private BadItemException TooShort(string path, int frames, VideoInfo info) => new(DataFaultKind.TooShort, info.Duration == TimeSpan.Zero
        ? $"{path} does not say how long it is, or has no frames: write it anew with ffmpeg -i, or leave it out"
        : FormattableString.Invariant($"{path} has {frames} frames{Rate()} ({info.Duration.TotalSeconds:0.##} s), fewer than the shortest clip, {buckets.Shortest}"));

    private string Rate() => framesPerSecond is { } rate ? FormattableString.Invariant($" at {rate} frames per second") : "";

    private Bucket CheckSize(string path, int width, int height, Bucket bucket)
    {
        var enlarged = Math.Max((double)bucket.Width / width, (double)bucket.Height / height);
        return enlarged <= mostEnlarged
            ? bucket
            : throw new BadItemException(DataFaultKind.TooSmall, FormattableString.Invariant(
                $"{path} has {width}x{height} pixels, which would be enlarged {enlarged:0.#} times to {bucket.Width}x{bucket.Height}; at most {mostEnlarged:0.#} is let pass"));
    }
}
