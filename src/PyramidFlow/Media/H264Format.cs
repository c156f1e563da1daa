using System.Globalization;

namespace PyramidFlow.Media;

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
    /// Output arguments for one fragment: a file of its own whose time stamps go on where the fragment before it ended.
    /// Without its index (ftyp, moov), which is the same every time, it can be appended to that one.
    /// </summary>
    /// <param name="options">As for the whole video.</param>
    /// <param name="number">1 for the first fragment.</param>
    /// <param name="firstFrame">How many frames came before.</param>
    public static IEnumerable<string> FragmentArguments(VideoWriterOptions options, int number, long firstFrame) =>
    [
        // B-frames would put the first frame of each fragment later than the last one's end.
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
        VideoMetadata.Of(options).SelectMany(text => (string[])["-metadata", $"{text.Key}={text.Value}"]);

    private static void CheckEven(string side, int size)
    {
        if (size % 2 != 0)
        {
            throw new MediaException(
                $"{side} {size} is odd, and H.264 video needs even sizes: use {(size == 1 ? 2 : size - 1)} or {size + 1}");
        }
    }
}
