using PyramidFlow.Media;

namespace PyramidFlow.Generation;

/// <summary>The video that a clip goes on from (<see cref="GenerationOptions.Video"/>), read from a file.</summary>
public static class GivenVideo
{
    /// <summary>
    /// Reads the end of a video, as much as a model can look back at, and hands on what comes before, so that no more than that
    /// end is held.
    /// </summary>
    /// <param name="path">The video file.</param>
    /// <param name="options">Width, height and rate of the clip that goes on from it; width and height must be given.</param>
    /// <param name="most">How many frames the model can look back at, at least 1.</param>
    /// <param name="earlier">Takes the frames before the end, one at a time; null when nobody wants them, which is quicker.</param>
    /// <param name="cancel">Stops the decoder.</param>
    /// <returns>1 + a multiple of 8 frames, interleaved RGB bytes.</returns>
    /// <exception cref="MediaException">It is no video, is damaged or has no frames, or a value is impossible.</exception>
    public static async Task<ReadOnlyMemory<byte>> ReadAsync(string path, VideoReadOptions options, int most,
        Func<ReadOnlyMemory<byte>, Task>? earlier = null, CancellationToken cancel = default)
    {
        if (options is not { Width: { } width, Height: { } height })
            throw new ArgumentException("width and height of the clip are missing: give both", nameof(options));
        var frameBytes = width * height * 3;
        if (earlier is null)
        {
            var tail = await VideoTail.ReadAsync(path, most, width, height, options.Fps, cancel).ConfigureAwait(false);
            return tail.Rgb[((tail.Count - VideoLength.Fitting(tail.Count)) * frameBytes)..];
        }

        var last = new Queue<ReadOnlyMemory<byte>>();
        await foreach (var frame in VideoReader.ReadAsync(path, options with { FramesPerChunk = 1 }, cancel).ConfigureAwait(false))
        {
            last.Enqueue(frame.Rgb);
            if (last.Count > most)
                await earlier(last.Dequeue()).ConfigureAwait(false);
        }

        while (last.Count > VideoLength.Fitting(last.Count))
            await earlier(last.Dequeue()).ConfigureAwait(false);
        var rgb = new byte[(long)last.Count * frameBytes];
        foreach (var (i, frame) in last.Index())
            frame.CopyTo(rgb.AsMemory(i * frameBytes));
        return rgb;
    }
}
