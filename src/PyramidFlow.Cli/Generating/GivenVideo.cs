using PyramidFlow.Hub;
using PyramidFlow.Media;
using PyramidFlow.Pipelines;

namespace PyramidFlow.Cli.Generating;

/// <summary>The video that a clip goes on from.</summary>
internal static class GivenVideo
{
    /// <summary>
    /// Reads the end of a video, as much as a model can look back at, and hands on what comes before, so that no more than that
    /// end is held.
    /// </summary>
    /// <param name="plan">Says the video, size and rate.</param>
    /// <param name="settings">The checkpoint's.</param>
    /// <param name="earlier">Takes the frames before the end, one at a time; null when nobody wants them.</param>
    /// <param name="cancel">Stops the decoder.</param>
    /// <returns>1 + a multiple of 8 frames, interleaved RGB bytes.</returns>
    /// <exception cref="MediaException">It is no video, is damaged or has no frames.</exception>
    public static async Task<ReadOnlyMemory<byte>> ReadAsync(GenerationPlan plan, PipelineSettings settings,
        Func<ReadOnlyMemory<byte>, Task>? earlier, CancellationToken cancel)
    {
        var (path, width, height) = (plan.Clip.Video!, plan.Request.Width!.Value, plan.Request.Height!.Value);
        var most = VideoLength.OfLatents(Math.Clamp(plan.Request.HistoryWindow ?? 0, settings.MaxLatentFrames, VideoLength.Latents(VideoLength.MaxFrames)));
        if (earlier is null)
        {
            var tail = await VideoTail.ReadAsync(path, most, width, height, plan.FramesPerSecond, cancel).ConfigureAwait(false);
            var skipped = tail.Count - VideoLength.Fitting(tail.Count);
            return tail.Rgb[(skipped * width * height * 3)..];
        }

        var last = new Queue<ReadOnlyMemory<byte>>();
        var options = new VideoReadOptions { Width = width, Height = height, Fps = plan.FramesPerSecond, FramesPerChunk = 1 };
        await foreach (var frame in VideoReader.ReadAsync(path, options, cancel).ConfigureAwait(false))
        {
            last.Enqueue(frame.Rgb);
            if (last.Count > most)
                await earlier(last.Dequeue()).ConfigureAwait(false);
        }

        while (last.Count > VideoLength.Fitting(last.Count))
            await earlier(last.Dequeue()).ConfigureAwait(false);
        var rgb = new byte[(long)last.Count * width * height * 3];
        foreach (var (i, frame) in last.Index())
            frame.CopyTo(rgb.AsMemory(i * width * height * 3));
        return rgb;
    }
}
