namespace PyramidFlow.Media;

/// <summary>Reads the last frames of a video, to extend it.</summary>
public static class VideoTail
{
    // After a seek, the first frames may be resampled from other neighbours than in the whole video.
    private const int Margin = 2;

    /// <summary>
    /// Reads the same frames that <see cref="VideoReader.ReadAsync"/> returns last. Decodes only the end of a long video and holds
    /// only the requested number of frames.
    /// </summary>
    /// <param name="path">The video file.</param>
    /// <param name="count">Number of frames, at least 1; a shorter video returns all its frames.</param>
    /// <param name="width">Width to resize to after a centred crop to the aspect ratio; null keeps the size of the video.</param>
    /// <param name="height">Height to resize to; set together with <paramref name="width"/>.</param>
    /// <param name="fps">Frames per second to resample to, above 0 and at most 240; null keeps the stored frames.</param>
    /// <param name="cancellationToken">Stops the decoder.</param>
    /// <param name="tools">The ffmpeg to run; null takes it from the environment.</param>
    /// <exception cref="MediaException">The file is missing, not a video, damaged or without frames, or a value is invalid.</exception>
    public static async Task<VideoFrames> ReadAsync(string path, int count, int? width = null, int? height = null,
        double? fps = null, CancellationToken cancellationToken = default, FfmpegTools? tools = null)
    {
        var options = new VideoReadOptions { Width = width, Height = height, Fps = fps, FramesPerChunk = 1 };
        VideoReader.Check(options with { MaxFrames = count });
        tools ??= FfmpegTools.FromEnvironment();
        var info = await VideoReader.ProbeAsync(path, cancellationToken, tools).ConfigureAwait(false);
        var budget = DecodeBudget.ForFile(path, tools, info: info);
        var last = new FrameRing(count, width ?? info.Width, height ?? info.Height);
        var rate = fps ?? info.Fps;
        // The duration may be that of the sound, and frames may be sparse: start earlier until there are enough.
        for (var seconds = rate > 0 ? 1 + ((count + Margin) / rate) : double.PositiveInfinity; ; seconds *= 4)
        {
            var start = Start(info.Duration.TotalSeconds - seconds, fps);
            last.Clear();
            await foreach (var frame in VideoReader.DecodeAsync(path, info, options with { Start = start }, budget, cancellationToken, tools).ConfigureAwait(false))
                last.Add(frame.Rgb.Span);
            if (start == TimeSpan.Zero || last.Seen >= count + (long)Margin)
                return last.Seen > 0 ? last.ToFrames() : throw VideoReader.NoFrame(path, TimeSpan.Zero, info);
        }
    }

    // A time on the resampling grid, so that resampling from there and from the start gives the same frames; whole seconds for integer rates.
    private static TimeSpan Start(double seconds, double? fps)
    {
        var grid = fps is { } rate ? Math.Max(1, Math.Round(rate)) / rate : 1;
        return seconds > grid ? TimeSpan.FromSeconds(Math.Floor(seconds / grid) * grid) : TimeSpan.Zero;
    }
}

/// <summary>A ring buffer of the last frames.</summary>
internal sealed class FrameRing
{
    private readonly int count;
    private readonly int width;
    private readonly int height;
    private readonly byte[] ring;                                             // [count, height, width, 3]

    /// <exception cref="MediaException">The frames do not fit into one array.</exception>
    public FrameRing(int count, int width, int height)
    {
        (this.count, this.width, this.height) = (count, width, height);
        var bytes = (long)width * height * 3 * count;
        ring = bytes <= Array.MaxLength
            ? new byte[bytes]
            : throw MediaFault.TooManyFrames(count, width, height);
    }

    /// <summary>Number of frames added, including those that were overwritten.</summary>
    public long Seen { get; private set; }

    private int FrameBytes => width * height * 3;

    public void Clear() => Seen = 0;

    public void Add(ReadOnlySpan<byte> frame) => frame.CopyTo(ring.AsSpan((int)(Seen++ % count) * FrameBytes));

    /// <summary>The frames, oldest first.</summary>
    public VideoFrames ToFrames()
    {
        var kept = (int)Math.Min(Seen, count);
        var oldest = (int)((Seen - kept) % count) * FrameBytes;
        var rgb = new byte[kept * FrameBytes];
        ring.AsSpan(oldest, Math.Min(rgb.Length, ring.Length - oldest)).CopyTo(rgb);
        if (oldest > 0)
            ring.AsSpan(0, oldest).CopyTo(rgb.AsSpan(ring.Length - oldest));
        return new VideoFrames(kept, width, height, rgb);
    }
}
