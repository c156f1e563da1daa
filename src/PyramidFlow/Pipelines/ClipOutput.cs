using PyramidFlow.Torch;

namespace PyramidFlow.Pipelines;

/// <summary>Decodes the units of one clip as they come and hands out their frames.</summary>
/// <param name="settings">The clip.</param>
/// <param name="item">Its number in the run.</param>
/// <param name="decoder">Of this clip; it stays the caller's.</param>
/// <param name="options">How many latent frames go at a time.</param>
/// <param name="write">Takes the frames; null when only <see cref="LastFrame"/> is wanted.</param>
internal sealed class ClipOutput(GenerationSettings settings, int item, UnitDecoder decoder, PipelineOptions options, Action<VideoChunk>? write) : IDisposable
{
    // The last frame of each latent frame that a cut history may still begin with, [1, 3, 1, h, w].
    private readonly Dictionary<long, Tensor> lastFrames = [];
    private readonly int frameBytes = 3 * settings.Width * settings.Height;
    private JointFade? fade;
    private long latentFrames;
    private int written, passed;

    /// <summary>Decodes a unit.</summary>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="latents">Normalised latents, [1, c, t, h, w].</param>
    /// <param name="cancel">Looked at before each piece.</param>
    internal void Add(int unit, Tensor latents, CancellationToken cancel)
    {
        var isGiven = unit == 0 && settings.GoesOn;
        if (isGiven)
            PassEarlierFrames();
        var total = latents.Size(2);
        for (long start = 0, count = Math.Min(total, options.DecodeWindow + (unit == 0 ? 1 : 0)); count > 0;
            start += count, count = Math.Min(total - start, options.DecodeWindow))
        {
            cancel.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            var piece = latents.Narrow(2, start, count);
            var frames = decoder.Decode(piece);                                                      // [1, 3, t, h, w]
            Remember(frames, count);
            if (isGiven && settings.Video is { } video && start + count == total && write is not null)
                fade = new JointFade(FrameBytes.ToPixels(video.Span[^frameBytes..], settings.Width, settings.Height).To(frames.Device), frames.Narrow(2, frames.Size(2) - 1, 1));
            if (!(isGiven && settings.NewFramesOnly))
                Write((isGiven || fade is null ? frames : fade.Apply(frames)).Select(0, 0), piece, isGiven ? settings.Video : null);
        }
    }

    /// <summary>The last frame of a latent frame that has been decoded, as long as the history window may ask for it: [1, 3, 1, h, w].</summary>
    internal Tensor LastFrame(long latentFrame) => lastFrames[latentFrame];

    /// <inheritdoc/>
    public void Dispose()
    {
        fade?.Dispose();
        foreach (var frame in lastFrames.Values)
            frame.Dispose();
    }

    // Given frames before those that were encoded.
    private void PassEarlierFrames()
    {
        if (settings.Video is not { } video)
            return;
        passed = (video.Length / frameBytes) - settings.HistoryFrames;
        if (passed > 0 && !settings.NewFramesOnly)
            Send(passed, video[..(passed * frameBytes)], null);
    }

    // Given frames come out as they came in.
    private void Write(Tensor frames, Tensor latents, ReadOnlyMemory<byte>? given)
    {
        if (write is null)
            return;
        var count = (int)frames.Size(1);
        var rgb = given is { } video ? video.Slice(passed * frameBytes, count * frameBytes) : FrameBytes.Of(frames);
        passed += count;
        Send(count, rgb, LatentClip.Of(latents, decoder.Normalization));
    }

    private void Send(int count, ReadOnlyMemory<byte> rgb, LatentClip? latents)
    {
        write?.Invoke(new VideoChunk(written, count, settings.Width, settings.Height, rgb) { Item = item, Latents = latents });
        written += count;
    }

    private void Remember(Tensor frames, long count)
    {
        var end = latentFrames + count;
        if (settings.Sampling.Window is { } window)
        {
            var last = frames.Size(2) - 1;
            for (var latent = Math.Max(latentFrames, end - window); latent < end; latent++)
                lastFrames[latent] = TensorScope.Detach(frames.Narrow(2, last - (VideoLength.Scale * (end - 1 - latent)), 1).Clone());
            foreach (var old in lastFrames.Keys.Where(latent => latent < end - window).ToList())
            {
                lastFrames.Remove(old, out var frame);
                frame!.Dispose();
            }
        }

        latentFrames = end;
    }
}
