namespace PyramidFlow.Media;

/// <summary>Animated GIF; ffmpeg leaves out its texts, <see cref="GifComments"/> adds them.</summary>
internal sealed record GifFormat() : VideoFormat(".gif")
{
    public override void CheckSize(int width, int height)
    {
        if (width > ushort.MaxValue || height > ushort.MaxValue)
            throw new MediaException($"{width}x{height} is too large for a .gif: use at most 65535 a side, or .mp4");
    }

    // One palette per frame, so that frames need not wait for the last one.
    public override IEnumerable<string> Arguments(VideoWriterOptions options) =>
    [
        "-filter_complex", "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1",
        "-loop", "0", "-f", "gif",
    ];

    public override void Finish(Stream file, VideoWriterOptions options) => GifComments.Append(file, VideoMetadata.Of(options));
}
