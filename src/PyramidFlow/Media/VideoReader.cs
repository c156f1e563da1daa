using System.Globalization;
using System.Runtime.CompilerServices;

namespace PyramidFlow.Media;

/// <summary>Reads video files (mp4, mov, webm, mkv, avi, gif and the like).</summary>
public static class VideoReader
{
    /// <summary>Videos with larger frames are refused: 64 million pixels.</summary>
    public const int MaxPixels = 64_000_000;

    private const int LargeFrame = 4_000_000, VeryLargeFrame = 16_000_000;

    // Containers only: a playlist or script of the same name must not make ffmpeg open other files.
    private const string Formats =
        "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,mpeg,mpegts,mpegvideo,h264,hevc,ivf,flv,ogg,asf,nut,yuv4mpegpipe";

    private static readonly string[] InputArguments =
    [
        "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file", "-format_whitelist", Formats,
        "-max_pixels", MaxPixels.ToString(CultureInfo.InvariantCulture),
    ];

    /// <summary>Reads what a file says about itself, without decoding it.</summary>
    /// <param name="path">The video file.</param>
    /// <param name="ct">Stops the program.</param>
    /// <param name="tools">Which ffprobe; by default what the environment names.</param>
    /// <exception cref="MediaException">The file is missing or is no video.</exception>
    public static async Task<VideoInfo> ProbeAsync(string path, CancellationToken ct = default, FfmpegTools? tools = null)
    {
        CheckFile(path);
        tools ??= FfmpegTools.FromEnvironment();
        var info = await ProbeAsync(path, [], ct, tools).ConfigureAwait(false);
        // A raw stream of a codec says neither how long it is nor how many frames it has: they are counted, not decoded.
        return info is not { FrameCount: null, Duration.Ticks: 0, Fps: > 0 } ? info
            : (await ProbeAsync(path, ["-count_packets"], ct, tools).ConfigureAwait(false)) is { FrameCount: { } frames } counted
                ? counted with { Duration = TimeSpan.FromSeconds(frames / counted.Fps), CanSeek = false }
                : info with { CanSeek = false };
    }

    private static async Task<VideoInfo> ProbeAsync(string path, string[] more, CancellationToken ct, FfmpegTools tools)
    {
        var budget = DecodeBudget.OfFile(path, tools);
        await using var process = FfmpegProcess.Start(tools.Ffprobe,
            [.. InputArguments, "-threads", "1", .. more, "-select_streams", "V:0", "-show_streams", "-show_format", "-of", "json", "-i", "file:" + Path.GetFullPath(path)], ct, budget);
        var json = await process.ReadAllTextAsync().ConfigureAwait(false);
        var exitCode = await process.ExitCodeAsync().ConfigureAwait(false);
        var info = exitCode == 0 ? VideoInfoReader.Read(json) : null;
        if (info is not null && IsAllowed(info.Width, info.Height) && IsAllowed(info.StoredWidth, info.StoredHeight))
            return info;
        if (budget.OutOfMemory(process.Errors) is { } memory)
            throw memory;
        var size = info is null ? process.Errors.OversizedPicture() : $"{info.Width}x{info.Height}";
        throw new MediaException(size is not null
            ? $"{path} is too large ({size} pixels): use a video of at most {MaxPixels / 1_000_000} megapixels"
            : $"{path} is not a video that ffmpeg can read, or it is damaged"
                + (process.Errors.IsEmpty ? ": it has no picture" : $" ({process.Errors})"));
    }

    private static bool IsAllowed(int width, int height) => (long)width * height <= MaxPixels;

    /// <summary>Decodes frames as they are asked for; leaving the loop early stops the decoder.</summary>
    /// <param name="path">The video file.</param>
    /// <param name="options">Size, rate and range.</param>
    /// <param name="ct">Stops the decoder.</param>
    /// <param name="tools">Which ffmpeg; by default what the environment names.</param>
    /// <exception cref="MediaException">
    /// The file is missing, no video or damaged, an option is impossible, or no frame lies in the range.
    /// </exception>
    public static async IAsyncEnumerable<VideoFrames> ReadAsync(string path, VideoReadOptions? options = null,
        [EnumeratorCancellation] CancellationToken ct = default, FfmpegTools? tools = null)
    {
        options ??= new VideoReadOptions();
        Check(options);
        tools ??= FfmpegTools.FromEnvironment();
        var info = await ProbeAsync(path, ct, tools).ConfigureAwait(false);
        var frames = 0L;
        var budget = DecodeBudget.OfFile(path, tools, options.MostWork, info);
        await foreach (var chunk in DecodeAsync(path, info, options, budget, ct, tools).ConfigureAwait(false))
        {
            frames += chunk.Count;
            yield return chunk;
        }

        if (frames == 0)
            throw NoFrame(path, options.Start, info);
    }

    /// <summary>Decodes frames as they are asked for, perhaps none.</summary>
    internal static async IAsyncEnumerable<VideoFrames> DecodeAsync(string path, VideoInfo info, VideoReadOptions options, DecodeBudget budget,
        [EnumeratorCancellation] CancellationToken ct, FfmpegTools tools)
    {
        var (width, height) = (options.Width ?? info.Width, options.Height ?? info.Height);
        if ((long)width * height * 3 * options.FramesPerChunk > Array.MaxLength)
            throw new MediaException($"{options.FramesPerChunk} frames of {width}x{height} at once are too many: ask for fewer or smaller ones");
        await using var process = FfmpegProcess.Start(tools.Ffmpeg,
            Arguments(Path.GetFullPath(path), info, width, height, options), ct, budget);
        process.Input.Close();

        var frameBytes = width * height * 3;
        var frames = 0L;
        while (true)
        {
            var rgb = new byte[frameBytes * options.FramesPerChunk];
            var read = await ReadChunkAsync(process, rgb, frameBytes, ct).ConfigureAwait(false);
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
                ?? new MediaException($"{path} is damaged after frame {frames}{Perhaps(info, budget)}: {process.Errors}");
        }
    }

    // Some decoders take a frame that they had no memory for as a damaged one.
    private static string Perhaps(VideoInfo info, DecodeBudget budget) =>
        Pixels(info) > LargeFrame ? $", or takes more than {budget.Limits.MemoryBytes >> 20} MiB of memory to decode" : "";

    // Frame by frame, because each has its share of the budget.
    private static async Task<int> ReadChunkAsync(FfmpegProcess process, Memory<byte> rgb, int frameBytes, CancellationToken ct)
    {
        for (var read = 0; read < rgb.Length; read += frameBytes)
        {
            var frame = rgb.Slice(read, frameBytes);
            var got = await process.WithinBudgetAsync(process.Output.ReadAtLeastAsync(frame, frameBytes, throwOnEndOfStream: false, ct).AsTask()).ConfigureAwait(false);
            if (got < frameBytes)
                return read + got;
        }

        return rgb.Length;
    }

    private static string[] Arguments(string path, VideoInfo info, int width, int height, VideoReadOptions options)
    {
        var rate = options.Fps is { } fps ? $"fps={fps.ToString("R", CultureInfo.InvariantCulture)}," : "";
        var start = options.Start.TotalSeconds.ToString("F6", CultureInfo.InvariantCulture);
        // Raw streams have no times to seek by, and lose all their frames when they are asked to.
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

    // Each thread holds frames of its own, and ffmpeg otherwise starts as many as there are cores.
    private static string Threads(VideoInfo info) =>
        Math.Min(Pixels(info) > VeryLargeFrame ? 1 : Pixels(info) > LargeFrame ? 2 : 4, Environment.ProcessorCount).ToString(CultureInfo.InvariantCulture);

    private static long Pixels(VideoInfo info) => (long)info.StoredWidth * info.StoredHeight;

    /// <exception cref="MediaException">There is no file, or it is empty.</exception>
    internal static void CheckFile(string path)
    {
        if (!File.Exists(path))
            throw new MediaException(Directory.Exists(path) ? $"{path} is a folder, not a file" : $"{path} does not exist");
        if (new FileInfo(path).Length == 0)
            throw new MediaException($"{path} is empty");
    }

    /// <summary>The error of a range without frames.</summary>
    internal static MediaException NoFrame(string path, TimeSpan start, VideoInfo info) => new(start == TimeSpan.Zero
        ? $"{path} has no frames"
        : FormattableString.Invariant(
            $"{path} has no frame from second {start.TotalSeconds} on: it is {info.Duration.TotalSeconds} s long"));

    /// <exception cref="MediaException">An option is impossible.</exception>
    internal static void Check(VideoReadOptions options)
    {
        CoverCrop.Check(options.Width, options.Height);
        if (options.Fps is { } fps && !(fps > 0 && fps <= 240))
            throw new MediaException(FormattableString.Invariant($"{fps} frames per second is impossible: use 1 to 240"));
        if (options.Start < TimeSpan.Zero)
            throw new MediaException("a video cannot start before second 0");
        if (options.MaxFrames < 1 || options.FramesPerChunk < 1)
            throw new MediaException("the number of frames must be at least 1");
    }
}

/// <summary>Which frames of a video to read and how large.</summary>
public sealed record VideoReadOptions
{
    /// <summary>Width to resize to, or null for its own; frames are cut to the shape, centred.</summary>
    public int? Width { get; init; }

    /// <summary>Height to resize to; given together with <see cref="Width"/>.</summary>
    public int? Height { get; init; }

    /// <summary>Frames per second to resample to, above 0 and at most 240, or null for the frames as stored.</summary>
    public double? Fps { get; init; }

    /// <summary>Where to start.</summary>
    public TimeSpan Start { get; init; }

    /// <summary>How many frames to read at most, or null for all.</summary>
    public int? MaxFrames { get; init; }

    /// <summary>Frames per chunk, at least 1; the last chunk may be shorter. Default 8.</summary>
    public int FramesPerChunk { get; init; } = 8;

    /// <summary>Time on the processor that the decoder may take at most, or null for what the size of the file pays for.</summary>
    public TimeSpan? MostWork { get; init; }
}

/// <summary>A run of decoded frames.</summary>
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
