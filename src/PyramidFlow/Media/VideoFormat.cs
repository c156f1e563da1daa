using System.Globalization;
using System.Text;

namespace PyramidFlow.Media;

/// <summary>A kind of video file we write: what it is called and what ffmpeg is told to make it.</summary>
internal abstract record VideoFormat(string Extension)
{
    // Linux takes at most 128 KiB in one argument.
    private const int MaxMetadataBytes = 120_000;

    private static readonly VideoFormat[] All = [new H264(), new Gif()];

    /// <summary>The format a file name's extension asks for.</summary>
    /// <exception cref="MediaException">We do not write such files.</exception>
    public static VideoFormat Of(string path)
    {
        var extension = Path.GetExtension(path).ToLowerInvariant();
        return All.FirstOrDefault(format => format.Extension == extension) ?? throw new MediaException(
            $"cannot write {(extension.Length == 0 ? "a video without an extension" : $"{extension} videos")} ({Path.GetFileName(path)}): "
            + $"name it {string.Join(" or ", All.Select(format => format.Extension))}");
    }

    /// <summary>Fails when the size does not fit the format.</summary>
    /// <exception cref="MediaException">It does not.</exception>
    public abstract void CheckSize(int width, int height);

    /// <summary>Output arguments, without the file.</summary>
    public abstract IEnumerable<string> Arguments(VideoWriterOptions options);

    private sealed record H264() : VideoFormat(".mp4")
    {
        public override void CheckSize(int width, int height)
        {
            CheckEven("width", width);
            CheckEven("height", height);
        }

        public override IEnumerable<string> Arguments(VideoWriterOptions options) =>
        [
            "-vf", "scale=flags=bicubic+accurate_rnd+full_chroma_int:out_color_matrix=bt709:out_range=tv,format=yuv420p",
            "-c:v", "libx264", "-crf", options.Crf.ToString(CultureInfo.InvariantCulture),
            "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv",
            "-movflags", "+faststart+use_metadata_tags",
            .. Metadata(options),
            "-f", "mp4",
        ];

        private static void CheckEven(string side, int size)
        {
            if (size % 2 != 0)
            {
                throw new MediaException(
                    $"{side} {size} is odd, and H.264 video needs even sizes: use {(size == 1 ? 2 : size - 1)} or {size + 1}");
            }
        }

        private static IEnumerable<string> Metadata(VideoWriterOptions options)
        {
            foreach (var (key, value) in options.Metadata.Prepend(new("title", options.Title ?? "")))
            {
                if (key.Length == 0 || !key.All(c => char.IsAsciiLetterOrDigit(c) || c == '_'))
                    throw new MediaException($"metadata key '{key}' must be made of letters, digits and underscores");
                if (value.Contains('\0', StringComparison.Ordinal))
                    throw new MediaException($"metadata {key} contains a null character: remove it");
                if (Encoding.UTF8.GetByteCount(value) > MaxMetadataBytes)
                    throw new MediaException($"metadata {key} has {value.Length} characters: shorten it to {MaxMetadataBytes} bytes");
                if (value.Length == 0)
                    continue;
                yield return "-metadata";
                yield return $"{key}={value}";
            }
        }
    }

    private sealed record Gif() : VideoFormat(".gif")
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
    }
}
