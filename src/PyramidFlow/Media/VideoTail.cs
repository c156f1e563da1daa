namespace PyramidFlow.Media;

/// <summary>Reads the end of a video, which a longer one is to go on from.</summary>
public static class VideoTail
{
    // The first frames behind a seek may be resampled from other neighbours than in the whole video.
    private const int Margin = 2;

    /// <summary>
    /// Reads the last frames: the same that <see cref="VideoReader.ReadAsync"/> gives last. Of a long video only the end is
    /// decoded, and no more frames than asked for are held.
    /// </summary>
    /// <param name="path">The video file.</param>
    /// <param name="count">How many frames, at least 1; a shorter video gives all it has.</param>
    /// <param name="width">Width to resize to, or null for its own; frames are cut to the shape, centred.</param>
    /// <param name="height">Height to resize to; given together with <paramref name="width"/>.</param>
    /// <param name="fps">Frames per second to resample to, above 0 and at most 240, or null for the frames as stored.</param>
    /// <param name="ct">Stops the decoder.</param>
    /// <param name="tools">Which ffmpeg; by default what the environment names.</param>
    /// <exception cref="MediaException">The file is missing, no video, damaged or without frames, or a value is impossible.</exception>
    public static async Task<VideoFrames> ReadAsync(string path, int count, int? width = null, int? height = null,
        double? fps = null, CancellationToken ct = default, FfmpegTools? tools = null)
    {
        var options = new VideoReadOptions { Width = width, Height = height, Fps = fps, FramesPerChunk = 1 };
        VideoReader.Check(options with { MaxFrames = count });
        tools ??= FfmpegTools.FromEnvironment();
        var info = await VideoReader.ProbeAsync(path, ct, tools).ConfigureAwait(false);
        var budget = DecodeBudget.OfFile(path, tools, info: info);
        var last = new LastFrames(count, width ?? info.Width, height ?? info.Height);
        var rate = fps ?? info.Fps;
        // The length may be that of the sound, and frames may be sparse: look further back until there are enough.
        for (var seconds = rate > 0 ? 1 + ((count + Margin) / rate) : double.PositiveInfinity; ; seconds *= 4)
        {
            var start = Start(info.Duration.TotalSeconds - seconds, fps);
            last.Clear();
            await foreach (var frame in VideoReader.DecodeAsync(path, info, options with { Start = start }, budget, ct, tools).ConfigureAwait(false))
                last.Add(frame.Rgb.Span);
            if (start == TimeSpan.Zero || last.Seen >= count + (long)Margin)
                return last.Seen > 0 ? last.ToFrames() : throw VideoReader.NoFrame(path, TimeSpan.Zero, info);
        }
    }

    // A place where resampling from there meets the same instants as from the beginning; whole seconds for whole rates.
    private static TimeSpan Start(double seconds, double? fps)
    {
        var grid = fps is { } rate ? Math.Max(1, Math.Round(rate)) / rate : 1;
        return seconds > grid ? TimeSpan.FromSeconds(Math.Floor(seconds / grid) * grid) : TimeSpan.Zero;
    }
}

/// <summary>The last frames of a stream of them, in a ring.</summary>
internal sealed class LastFrames
{
    private readonly int count;
    private readonly int width;
    private readonly int height;
    private readonly byte[] ring;                                             // [count, height, width, 3]

    /// <exception cref="MediaException">They do not fit into one array.</exception>
    public LastFrames(int count, int width, int height)
    {
        (this.count, this.width, this.height) = (count, width, height);
        var bytes = (long)width * height * 3 * count;
        ring = bytes <= Array.MaxLength
            ? new byte[bytes]
            : throw new MediaException($"{count} frames of {width}x{height} at once are too many: ask for fewer or smaller ones");
    }

    /// <summary>How many frames came, more than are kept.</summary>
    public long Seen { get; private set; }

    private int FrameBytes => width * height * 3;

    public void Clear() => Seen = 0;

    public void Add(ReadOnlySpan<byte> frame) => frame.CopyTo(ring.AsSpan((int)(Seen++ % count) * FrameBytes));

    /// <summary>What is kept, oldest first.</summary>
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
