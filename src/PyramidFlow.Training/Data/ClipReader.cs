using PyramidFlow.Media;
using PyramidFlow.Training.Sprites;

namespace PyramidFlow.Training.Data;

/// <summary>Decodes a clip to the size and length of its bucket.</summary>
/// <param name="framesPerSecond">Rate videos are brought to; null takes frames as stored.</param>
/// <param name="randomStart">Whether a clip may start anywhere in its video; else at its first frame.</param>
internal sealed class ClipReader(double? framesPerSecond, bool randomStart)
{
    /// <summary>Reads a clip.</summary>
    /// <param name="item">Which.</param>
    /// <param name="draws">Where it starts.</param>
    /// <param name="cancel">Stops the decoder.</param>
    /// <returns>RGB, [frames, height, width, 3].</returns>
    /// <exception cref="BadItemException">The file is damaged, or has fewer frames than its header says.</exception>
    public async Task<byte[]> ReadAsync(DataItem item, SpriteRandom draws, CancellationToken cancel)
    {
        var (annotation, bucket) = (item.Annotation, item.Bucket);
        if (annotation.Image is { } image)
        {
            var picture = await MediaFaults.GuardAsync(image, () => ImageReader.ReadAsync(image, bucket.Width, bucket.Height, cancel)).ConfigureAwait(false);
            return picture.Pixels.ToArray();
        }

        var video = annotation.Video!;
        return await MediaFaults.GuardAsync(video, () => annotation.Frames is { } frames
            ? ChosenAsync(video, bucket, frames, cancel)
            : InARowAsync(video, bucket, Start(item, draws), cancel)).ConfigureAwait(false);
    }

    /// <summary>Reads everything that <see cref="ReadAsync"/> may give of an item, wherever a clip starts.</summary>
    /// <param name="item">Which.</param>
    /// <param name="cancel">Stops the decoder.</param>
    /// <returns>What was wrong with a picture that could be read, one sentence, or null.</returns>
    /// <exception cref="BadItemException">A part is damaged, or there are fewer frames than the header says.</exception>
    public async Task<string?> CheckAsync(DataItem item, CancellationToken cancel)
    {
        var (annotation, bucket) = (item.Annotation, item.Bucket);
        if (annotation.Image is { } image)
            return (await MediaFaults.GuardAsync(image, () => ImageReader.ReadAsync(image, bucket.Width, bucket.Height, cancel)).ConfigureAwait(false)).Warning;
        if (!randomStart || annotation.Frames is not null || item.FramesPerSecond <= 0)
        {
            await ReadAsync(item, new SpriteRandom(0), cancel).ConfigureAwait(false);
            return null;
        }

        // One frame fewer: the last may lie between two of another rate.
        var promised = Math.Max(bucket.Frames, (int)((item.Seconds - (1 / item.FramesPerSecond)) * (framesPerSecond ?? item.FramesPerSecond)) - 1);
        var found = await MediaFaults.GuardAsync(annotation.Video!, () => CountAsync(annotation.Video!, bucket, cancel)).ConfigureAwait(false);
        return found >= promised ? null : throw Short(annotation.Video!, found, promised);
    }

    private async Task<int> CountAsync(string path, Bucket bucket, CancellationToken cancel)
    {
        var found = 0;
        await foreach (var chunk in VideoReader.ReadAsync(path, new() { Width = bucket.Width, Height = bucket.Height, Fps = framesPerSecond }, cancel).ConfigureAwait(false))
            found += chunk.Count;
        return found;
    }

    private TimeSpan Start(DataItem item, SpriteRandom draws)
    {
        if (!randomStart || item.FramesPerSecond <= 0)
            return TimeSpan.Zero;
        // The first frame after the start may come as late as one frame of the video.
        var rate = framesPerSecond ?? item.FramesPerSecond;
        var spare = item.Seconds - (item.Bucket.Frames / rate) - (1 / item.FramesPerSecond);
        return TimeSpan.FromSeconds(Math.Max(0, spare) * draws.NextSingle());
    }

    private async Task<byte[]> InARowAsync(string path, Bucket bucket, TimeSpan start, CancellationToken cancel)
    {
        var options = new VideoReadOptions
        {
            Width = bucket.Width, Height = bucket.Height, Fps = framesPerSecond, Start = start, MaxFrames = bucket.Frames, FramesPerChunk = bucket.Frames,
        };
        var found = 0;
        await foreach (var chunk in VideoReader.ReadAsync(path, options, cancel).ConfigureAwait(false))
        {
            if (chunk.Count == bucket.Frames)
                return chunk.Rgb.ToArray();
            found = chunk.Count;
        }

        throw Short(path, found, bucket.Frames);
    }

    // The frames named, in the order of the video; the first ones when more are named than the clip has.
    private static async Task<byte[]> ChosenAsync(string path, Bucket bucket, IReadOnlyList<int> frames, CancellationToken cancel)
    {
        var wanted = frames.Take(bucket.Frames).ToList();
        var clip = new byte[(long)bucket.Frames * bucket.Width * bucket.Height * 3];
        var (read, found) = (0, 0);
        var options = new VideoReadOptions { Width = bucket.Width, Height = bucket.Height, MaxFrames = wanted[^1] + 1 };
        await foreach (var chunk in VideoReader.ReadAsync(path, options, cancel).ConfigureAwait(false))
        {
            for (; found < wanted.Count && wanted[found] < read + chunk.Count; found++)
                chunk.Frame(wanted[found] - read).Pixels.CopyTo(clip.AsMemory(found * bucket.Width * bucket.Height * 3));
            read += chunk.Count;
        }

        return found == bucket.Frames ? clip : throw Short(path, found, bucket.Frames);
    }

    private static BadItemException Short(string path, int found, int promised) =>
        new(DataFaultKind.TooShort, $"{path} gives only {found} of the {promised} frames its header promises");
}
