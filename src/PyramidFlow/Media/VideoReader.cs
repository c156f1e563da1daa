using System.Globalization;
using System.Runtime.CompilerServices;

namespace PyramidFlow.Media;

/// <summary>Reads video files (mp4, mov, webm, mkv, avi, gif and the like).</summary>
public static class VideoReader
{
    /// <summary>Maximum frame size: 64 million pixels. Larger videos are refused.</summary>
    public const int MaxPixels = 64_000_000;

    private const int LargeFrame = 4_000_000, VeryLargeFrame = 16_000_000;

    // Only containers: a playlist or script must not make ffmpeg open other files.
    private const string Formats =
        "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,mpeg,mpegts,mpegvideo,h264,hevc,ivf,flv,ogg,asf,nut,yuv4mpegpipe";

    private static readonly string[] InputArguments =
    [
        "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file", "-format_whitelist", Formats,
        "-max_pixels", MaxPixels.ToString(CultureInfo.InvariantCulture),
    ];

    /// <summary>Reads size, rate, length and metadata of a video without decoding it.</summary>
    /// <param name="path">The video file.</param>
    /// <param name="cancellationToken">Stops ffprobe.</param>
    /// <param name="tools">The ffprobe to run; null takes it from the environment.</param>
    /// <exception cref="MediaException">The file is missing or is not a video.</exception>
    public static async Task<VideoInfo> ProbeAsync(string path, CancellationToken cancellationToken = default, FfmpegTools? tools = null)
    {
        CheckFile(path);
        tools ??= FfmpegTools.FromEnvironment();
        var info = await ProbeAsync(path, [], cancellationToken, tools).ConfigureAwait(false);
        // Raw codec streams have no duration and no frame count: ffprobe counts their packets without decoding.
        return info is not { FrameCount: null, Duration.Ticks: 0, Fps: > 0 } ? info
            : (await ProbeAsync(path, ["-count_packets"], cancellationToken, tools).ConfigureAwait(false)) is { FrameCount: { } frames } counted
                ? counted with { Duration = TimeSpan.FromSeconds(frames / counted.Fps), CanSeek = false }
                : info with { CanSeek = false };
    }

    private static async Task<VideoInfo> ProbeAsync(string path, string[] more, CancellationToken cancellationToken, FfmpegTools tools)
    {
        var budget = DecodeBudget.ForFile(path, tools);
        await using var process = FfmpegProcess.Start(tools.Ffprobe,
            [.. InputArguments, "-threads", "1", .. more, "-select_streams", "V:0", "-show_streams", "-show_format", "-of", "json", "-i", "file:" + Path.GetFullPath(path)], cancellationToken, budget);
        var json = await process.ReadAllTextAsync().ConfigureAwait(false);
        var exitCode = await process.ExitCodeAsync().ConfigureAwait(false);
        var info = exitCode == 0 ? VideoInfoReader.Read(json) : null;
        if (info is not null && IsWithinLimit(info.Width, info.Height) && IsWithinLimit(info.StoredWidth, info.StoredHeight))
            return info;
        if (budget.OutOfMemory(process.Errors) is { } memory)
            throw memory;
        var size = info is null ? process.Errors.OversizedPicture() : $"{info.Width}x{info.Height}";
        throw size is null ? MediaFault.NoVideo(path, process.Errors) : MediaFault.VideoTooLarge(path, size, MaxPixels);
    }

    private static bool IsWithinLimit(int width, int height) => (long)width * height <= MaxPixels;

    /// <summary>Decodes frames lazily; leaving the loop early stops the decoder.</summary>
    /// <param name="path">The video file.</param>
    /// <param name="options">Size, rate and range of the frames.</param>
    /// <param name="cancellationToken">Stops the decoder.</param>
    /// <param name="tools">The ffmpeg to run; null takes it from the environment.</param>
    /// <exception cref="MediaException">
    /// The file is missing, not a video or damaged, an option is invalid, or no frame lies in the range.
    /// </exception>
    public static async IAsyncEnumerable<VideoFrames> ReadAsync(string path, VideoReadOptions? options = null,
        [EnumeratorCancellation] CancellationToken cancellationToken = default, FfmpegTools? tools = null)
    {
        options ??= new VideoReadOptions();
        Check(options);
        tools ??= FfmpegTools.FromEnvironment();
        var info = await ProbeAsync(path, cancellationToken, tools).ConfigureAwait(false);
        var frames = 0L;
        var budget = DecodeBudget.ForFile(path, tools, options.MostWork, info);
        await foreach (var chunk in DecodeAsync(path, info, options, budget, cancellationToken, tools).ConfigureAwait(false))
        {
            frames += chunk.Count;
            yield return chunk;
        }

        if (frames == 0)
            throw NoFrame(path, options.Start, info);
    }

    /// <summary>Decodes frames lazily; there may be none.</summary>
    internal static async IAsyncEnumerable<VideoFrames> DecodeAsync(string path, VideoInfo info, VideoReadOptions options, DecodeBudget budget,
        [EnumeratorCancellation] CancellationToken cancellationToken, FfmpegTools tools)
    {
        var (width, height) = (options.Width ?? info.Width, options.Height ?? info.Height);
        if ((long)width * height * 3 * options.FramesPerChunk > Array.MaxLength)
            throw MediaFault.TooManyFrames(options.FramesPerChunk, width, height);
        await using var process = FfmpegProcess.Start(tools.Ffmpeg,
            Arguments(Path.GetFullPath(path), info, width, height, options), cancellationToken, budget);
        process.Input.Close();

        var frameBytes = width * height * 3;
        var frames = 0L;
        while (true)
        {
            var rgb = new byte[frameBytes * options.FramesPerChunk];
            var read = await ReadChunkAsync(process, rgb, frameBytes, cancellationToken).ConfigureAwait(false);
            var count = read / frameBytes;
            frames += count;
            if (count != 0)
                yield return new VideoFrames(count, width, height, rgb.AsMemory(0, count * frameBytes));
            if (read < rgb.Length)
                break;
        }

        if (await process.ExitCodeAsync().ConfigureAwait(false) != 0)
        {
            throw info.Hdr?.Missing(path, process.Errors) ?? budget.OutOfMemory(process.Errors)
                ?? MediaFault.VideoDamaged(path, frames, Perhaps(info, budget), process.Errors);
        }
    }

    // Some decoders report a frame as damaged when they ran out of memory for it.
    private static string Perhaps(VideoInfo info, DecodeBudget budget) =>
        Pixels(info) > LargeFrame ? $", or takes more than {budget.Limits.MemoryBytes >> 20} MiB of memory to decode" : "";

    // Frame by frame, because the budget applies to each frame.
    private static async Task<int> ReadChunkAsync(FfmpegProcess process, Memory<byte> rgb, int frameBytes, CancellationToken cancellationToken)
    {
        for (var read = 0; read < rgb.Length; read += frameBytes)
        {
            var frame = rgb.Slice(read, frameBytes);
            var got = await process.WithinBudgetAsync(process.Output.ReadAtLeastAsync(frame, frameBytes, throwOnEndOfStream: false, cancellationToken).AsTask()).ConfigureAwait(false);
            if (got < frameBytes)
                return read + got;
        }

        return rgb.Length;
    }

    private static string[] Arguments(string path, VideoInfo info, int width, int height, VideoReadOptions options)
    {
        var rate = options.Fps is { } fps ? $"fps={fps.ToString("R", CultureInfo.InvariantCulture)}," : "";
        var start = options.Start.TotalSeconds.ToString("F6", CultureInfo.InvariantCulture);
        // Raw streams have no timestamps: seeking in them loses all frames.
        string[] seek = options.Start > TimeSpan.Zero && info.CanSeek ? ["-ss", start] : [];
        if (options.Start > TimeSpan.Zero && !info.CanSeek)
            rate = $"trim=start={start},setpts=PTS-STARTPTS," + rate;
        return
        [
            "-nostdin", "-xerror", .. InputArguments, "-threads", Threads(info), "-filter_complex_threads", "1",
            .. info.Decoder is { } decoder ? (string[])["-c:v", decoder] : [],
            .. seek, "-i", "file:" + path, "-filter_complex", "[0:V:0]" + info.Shown.Filter(rate, (width, height)),
            .. options.MaxFrames is { } max ? (string[])["-frames:v", max.ToString(CultureInfo.InvariantCulture)] : [],
            "-an", "-sn", "-dn", "-vsync", "passthrough", "-f", "rawvideo", "pipe:1",
        ];
    }

    // Every decoder thread holds its own frames, and by default ffmpeg starts one for each core.
    private static string Threads(VideoInfo info) =>
        Math.Min(Pixels(info) > VeryLargeFrame ? 1 : Pixels(info) > LargeFrame ? 2 : 4, Environment.ProcessorCount).ToString(CultureInfo.InvariantCulture);

    private static long Pixels(VideoInfo info) => (long)info.StoredWidth * info.StoredHeight;

    /// <exception cref="MediaException">The file is missing or empty.</exception>
    internal static void CheckFile(string path)
    {
        if (!File.Exists(path))
            throw Directory.Exists(path) ? MediaFault.Folder(path) : MediaFault.Missing(path);
        if (new FileInfo(path).Length == 0)
            throw MediaFault.Empty(path);
    }

    /// <summary>The error for a range without frames.</summary>
    internal static MediaException NoFrame(string path, TimeSpan start, VideoInfo info) =>
        start == TimeSpan.Zero ? MediaFault.NoFrames(path) : MediaFault.StartAfterEnd(path, start, info.Duration);

    /// <exception cref="MediaException">An option is invalid.</exception>
    internal static void Check(VideoReadOptions options)
    {
        CoverCrop.Check(options.Width, options.Height);
        if (options.Fps is { } fps && !(fps > 0 && fps <= 240))
            throw MediaFault.RateOutOfRange(fps);
        if (options.Start < TimeSpan.Zero)
            throw MediaFault.NegativeStart();
        if (options.MaxFrames < 1 || options.FramesPerChunk < 1)
            throw MediaFault.NoFrameAsked();
    }
}

/// <summary>Range, rate and size of the frames to read from a video.</summary>
public sealed record VideoReadOptions
{
    /// <summary>Width to resize to after a centred crop to the aspect ratio; null keeps the size of the video.</summary>
    public int? Width { get; init; }

    /// <summary>Height to resize to; set together with <see cref="Width"/>.</summary>
    public int? Height { get; init; }

    /// <summary>Frames per second to resample to, above 0 and at most 240; null keeps the stored frames.</summary>
    public double? Fps { get; init; }

    /// <summary>Start of the range.</summary>
    public TimeSpan Start { get; init; }

    /// <summary>Maximum number of frames; null reads all.</summary>
    public int? MaxFrames { get; init; }

    /// <summary>Frames per chunk, at least 1; the last chunk may be shorter. Default 8.</summary>
    public int FramesPerChunk { get; init; } = 8;

    /// <summary>Maximum CPU time of the decoder; null derives it from the size of the file.</summary>
    public TimeSpan? MostWork { get; init; }
}

/// <summary>Consecutive decoded frames.</summary>
/// <param name="Count">Number of frames.</param>
/// <param name="Width">Width in pixels.</param>
/// <param name="Height">Height in pixels.</param>
/// <param name="Rgb">8-bit RGB, [count, height, width, 3].</param>
public sealed record VideoFrames(int Count, int Width, int Height, ReadOnlyMemory<byte> Rgb)
{
    /// <summary>One frame, without a copy.</summary>
    /// <param name="index">0 to <see cref="Count"/> - 1.</param>
    public RgbImage Frame(int index) =>
        new(Width, Height, Rgb.Slice(index * Width * Height * 3, Width * Height * 3));
}
