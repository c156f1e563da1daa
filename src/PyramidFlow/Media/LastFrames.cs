namespace PyramidFlow.Media;

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
