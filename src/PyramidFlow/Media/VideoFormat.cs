using System.Globalization;
using System.Text;

namespace PyramidFlow.Media;

/// <summary>Rate, quality and metadata of a written video.</summary>
public sealed record VideoWriterOptions
{
    /// <summary>Frames per second, above 0 and at most 240. Default 24, the rate of the released models.</summary>
    public double Fps { get; init; } = 24;

    /// <summary>H.264 constant rate factor, 0 (lossless) to 51 (worst). Default 17, visually lossless.</summary>
    public int Crf { get; init; } = 17;

    /// <summary>Title shown by players.</summary>
    public string? Title { get; init; }

    /// <summary>
    /// Metadata texts by key, read back by <see cref="MediaMetadata.ReadAsync"/>; players show <c>comment</c>. Keys consist of
    /// letters, digits and underscores; empty values are skipped.
    /// </summary>
    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();
}

/// <summary>A video file format: its extension, its limits and the ffmpeg arguments that write it.</summary>
internal abstract record VideoFormat(string Extension)
{
    private static readonly VideoFormat[] All = [new H264Format(), new GifFormat()];

    /// <summary>The format for the extension of a file name.</summary>
    /// <exception cref="MediaException">The extension is not supported.</exception>
    public static VideoFormat FromPath(string path)
    {
        var extension = Path.GetExtension(path).ToLowerInvariant();
        return All.FirstOrDefault(format => format.Extension == extension) ?? throw MediaFault.UnknownFormat(
            Path.GetFileName(path), extension, All.Select(format => format.Extension));
    }

    /// <summary>Checks size, rate, quality and texts.</summary>
    /// <exception cref="MediaException">A value does not fit the format.</exception>
    public void Check(VideoWriterOptions options, int width, int height)
    {
        if (width < 1 || height < 1 || (long)width * height * 3 > int.MaxValue)
            throw MediaFault.FrameOutOfRange(width, height);
        if (!(options.Fps > 0 && options.Fps <= 240))
            throw MediaFault.RateOutOfRange(options.Fps);
        if (options.Crf is < 0 or > 51)
            throw MediaFault.CrfOutOfRange(options.Crf);
        CheckSize(width, height);
        _ = VideoMetadata.Texts(options).Count();
    }

    /// <summary>Input arguments for raw frames on standard input.</summary>
    public static IEnumerable<string> InputArguments(VideoWriterOptions options, int width, int height) =>
    [
        "-hide_banner", "-loglevel", "error", "-y",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", $"{width}x{height}",
        "-framerate", options.Fps.ToString("R", CultureInfo.InvariantCulture), "-i", "pipe:0",
    ];

    /// <summary>Checks the size.</summary>
    /// <exception cref="MediaException">The size does not fit the format.</exception>
    public abstract void CheckSize(int width, int height);

    /// <summary>Output arguments of ffmpeg, without the file.</summary>
    public abstract IEnumerable<string> Arguments(VideoWriterOptions options);

    /// <summary>Completes a file after ffmpeg has written it.</summary>
    /// <exception cref="IOException">The file could not be changed.</exception>
    public virtual void Finish(Stream file, VideoWriterOptions options)
    {
    }
}

/// <summary>H.264 in mp4: yuv420p, BT.709.</summary>
internal sealed record H264Format() : VideoFormat(".mp4")
{
    public override void CheckSize(int width, int height)
    {
        CheckEven("width", width);
        CheckEven("height", height);
    }

    public override IEnumerable<string> Arguments(VideoWriterOptions options) =>
    [
        .. Encoding(options), "-movflags", "+faststart+use_metadata_tags", .. Metadata(options), "-f", "mp4",
    ];

    /// <summary>
    /// Output arguments for one fragment: a separate file whose timestamps continue those of the fragment before it. Without its
    /// header (ftyp, moov), which is always the same, it can be appended to that one.
    /// </summary>
    /// <param name="options">Options of the whole video.</param>
    /// <param name="number">1 for the first fragment.</param>
    /// <param name="firstFrame">Number of frames before this fragment.</param>
    public static IEnumerable<string> FragmentArguments(VideoWriterOptions options, int number, long firstFrame) =>
    [
        // B-frames would delay the first frame of a fragment beyond the end of the previous one.
        .. Encoding(options), "-bf", "0",
        "-movflags", "+empty_moov+default_base_moof+frag_custom+frag_discont+skip_trailer+use_metadata_tags",
        "-fragment_index", number.ToString(CultureInfo.InvariantCulture),
        "-output_ts_offset", (firstFrame / options.Fps).ToString("F6", CultureInfo.InvariantCulture),
        "-avoid_negative_ts", "disabled", .. Metadata(options), "-f", "mp4",
    ];

    private static IEnumerable<string> Encoding(VideoWriterOptions options) =>
    [
        "-vf", "scale=flags=bicubic+accurate_rnd+full_chroma_int:out_color_matrix=bt709:out_range=tv,format=yuv420p",
        "-c:v", "libx264", "-crf", options.Crf.ToString(CultureInfo.InvariantCulture),
        "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv",
    ];

    private static IEnumerable<string> Metadata(VideoWriterOptions options) =>
        VideoMetadata.Texts(options).SelectMany(text => (string[])["-metadata", $"{text.Key}={text.Value}"]);

    private static void CheckEven(string side, int size)
    {
        if (size % 2 != 0)
            throw MediaFault.OddSize(side, size);
    }
}

/// <summary>Animated GIF. ffmpeg does not write its texts; <see cref="GifComments"/> adds them.</summary>
internal sealed record GifFormat() : VideoFormat(".gif")
{
    public override void CheckSize(int width, int height)
    {
        if (width > ushort.MaxValue || height > ushort.MaxValue)
            throw MediaFault.GifTooLarge(width, height);
    }

    // One palette for each frame, so that encoding does not wait for the last frame.
    public override IEnumerable<string> Arguments(VideoWriterOptions options) =>
    [
        "-filter_complex", "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1",
        "-loop", "0", "-f", "gif",
    ];

    public override void Finish(Stream file, VideoWriterOptions options) => GifComments.Append(file, VideoMetadata.Texts(options));
}

/// <summary>Checks the metadata texts of a video.</summary>
internal static class VideoMetadata
{
    // Linux limits one argument to 128 KiB.
    private const int MaxBytes = 120_000;

    /// <summary>The title and all texts that are not empty.</summary>
    /// <exception cref="MediaException">A key or a text cannot be stored.</exception>
    public static IEnumerable<KeyValuePair<string, string>> Texts(VideoWriterOptions options)
    {
        foreach (var (key, value) in options.Metadata.Prepend(new("title", options.Title ?? "")))
        {
            if (!IsKey(key))
                throw MediaFault.BadKey(key);
            if (value.Contains('\0', StringComparison.Ordinal))
                throw MediaFault.NulInText(key);
            if (Encoding.UTF8.GetByteCount(value) > MaxBytes)
                throw MediaFault.TextTooLong(key, value.Length, MaxBytes);
            if (value.Length != 0)
                yield return new(key, value);
        }
    }

    public static bool IsKey(ReadOnlySpan<char> key)
    {
        foreach (var c in key)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c != '_')
                return false;
        }

        return key.Length != 0;
    }
}
