using System.Globalization;
using System.Text;

namespace PyramidFlow.Media;

/// <summary>A picture in 8-bit sRGB, [height, width, 3].</summary>
public sealed record RgbImage
{
    /// <summary>Wraps pixels without a copy.</summary>
    /// <param name="width">Width in pixels, at least 1.</param>
    /// <param name="height">Height in pixels, at least 1.</param>
    /// <param name="pixels">width * height * 3 bytes, rows from the top, red first.</param>
    /// <exception cref="ArgumentException">The number of bytes is wrong.</exception>
    public RgbImage(int width, int height, ReadOnlyMemory<byte> pixels)
    {
        if (width < 1 || height < 1 || pixels.Length != (long)width * height * 3)
            throw new ArgumentException($"{pixels.Length} bytes are not a {width}x{height} RGB picture", nameof(pixels));
        Width = width;
        Height = height;
        Pixels = pixels;
    }

    /// <summary>Width in pixels.</summary>
    public int Width { get; }

    /// <summary>Height in pixels.</summary>
    public int Height { get; }

    /// <summary>A warning about the file that the picture was read from, in one sentence, or null.</summary>
    public string? Warning { get; init; }

    /// <summary>The pixels, [height, width, 3].</summary>
    public ReadOnlyMemory<byte> Pixels { get; }
}

/// <summary>Size of a picture.</summary>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
public readonly record struct PictureSize(int Width, int Height);

/// <summary>
/// Reads still pictures (PNG, JPEG, WebP, AVIF, GIF, TIFF, BMP and the like, detected by content, not by name) of any depth and
/// colour model, including CMYK. Applies rotation and pixel aspect ratio but no colour profiles; transparent parts become white;
/// HDR is converted to SDR. Reads the first frame of an animation; refuses animated WebP, which ffmpeg cannot read.
/// </summary>
public static class ImageReader
{
    /// <summary>Pictures of this many pixels or more are refused before they are decoded: 100 million.</summary>
    public const int MaxPixels = 100_000_000;

    /// <summary>Files larger than this are refused: 256 MiB.</summary>
    public const int MaxBytes = 256 << 20;

    // Only pictures: a playlist or script must not make ffmpeg open other files.
    private const string Formats = "apng,bmp_pipe,gif,gif_pipe,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_pipe,pam_pipe,pbm_pipe,"
        + "pgm_pipe,png_pipe,ppm_pipe,qoi_pipe,tiff_pipe,webp_pipe,mov,mp4,m4a,3gp,3g2,mj2";

    // Decoders allocate more than the display size, which is checked separately.
    private static readonly string[] InputArguments =
    [
        "-protocol_whitelist", "pipe", "-format_whitelist", Formats, "-max_pixels", (MaxPixels / 10 * 11).ToString(CultureInfo.InvariantCulture),
    ];

    /// <summary>Reads a picture.</summary>
    /// <param name="path">The file.</param>
    /// <param name="coverWidth">Width to resize to after a centred crop to the aspect ratio; null keeps the size of the picture.</param>
    /// <param name="coverHeight">Height to resize to; set together with <paramref name="coverWidth"/>.</param>
    /// <param name="cancellationToken">Stops the decoder.</param>
    /// <param name="tools">The ffmpeg to run; null takes it from the environment.</param>
    /// <exception cref="MediaException">The file is missing, not a picture, damaged or too large.</exception>
    public static async Task<RgbImage> ReadAsync(string path, int? coverWidth = null, int? coverHeight = null,
        CancellationToken cancellationToken = default, FfmpegTools? tools = null)
    {
        CoverCrop.Check(coverWidth, coverHeight);
        return await OpenAsync(path, source => ReadAsync(source, path, coverWidth, coverHeight, cancellationToken, tools)).ConfigureAwait(false);
    }

    /// <summary>
    /// Measures the picture that <see cref="ReadAsync(string, int?, int?, CancellationToken, FfmpegTools?)"/> returns, without
    /// decoding it if possible.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="cancellationToken">Stops the decoder.</param>
    /// <param name="tools">The ffmpeg to run; null takes it from the environment.</param>
    /// <exception cref="MediaException">The file is missing, not a picture, damaged or too large.</exception>
    public static async Task<PictureSize> MeasureAsync(string path, CancellationToken cancellationToken = default, FfmpegTools? tools = null)
    {
        var (width, height) = await OpenAsync(path, async source =>
        {
            var bytes = await ReadAllAsync(source, path, cancellationToken).ConfigureAwait(false);
            return (await ReadHeaderAsync(bytes, path, tools ?? FfmpegTools.FromEnvironment(), cancellationToken).ConfigureAwait(false)).Shown;
        }).ConfigureAwait(false);
        return new PictureSize((int)width, (int)height);
    }

    /// <summary>Reads a picture from a stream, such as an upload.</summary>
    /// <param name="source">The encoded picture.</param>
    /// <param name="name">Name of the picture for error messages.</param>
    /// <param name="coverWidth">Width to resize to after a centred crop to the aspect ratio; null keeps the size of the picture.</param>
    /// <param name="coverHeight">Height to resize to; set together with <paramref name="coverWidth"/>.</param>
    /// <param name="cancellationToken">Stops the decoder.</param>
    /// <param name="tools">The ffmpeg to run; null takes it from the environment.</param>
    /// <exception cref="MediaException">The stream is not a picture, damaged or too large.</exception>
    public static async Task<RgbImage> ReadAsync(Stream source, string name, int? coverWidth = null, int? coverHeight = null,
        CancellationToken cancellationToken = default, FfmpegTools? tools = null)
    {
        CoverCrop.Check(coverWidth, coverHeight);
        var bytes = await ReadAllAsync(source, name, cancellationToken).ConfigureAwait(false);
        tools ??= FfmpegTools.FromEnvironment();
        var header = await ReadHeaderAsync(bytes, name, tools, cancellationToken).ConfigureAwait(false);
        var frames = new DisplayTransform(header.UprightAspect, header.HasAlpha, header.Hdr);
        (int Width, int Height)? size = coverWidth is { } w && coverHeight is { } h ? (w, h)
            : header.Aspect != 1 ? ((int)header.Shown.Width, (int)header.Shown.Height) : null;
        string[] arguments =
        [
            "-hide_banner", "-loglevel", "error", "-xerror", .. IsTiff(bytes) ? (string[])[] : ["-err_detect", "explode"], "-threads", "1", .. InputArguments, .. TiffLength(bytes),
            .. header.Orientation is null ? (string[])[] : ["-noautorotate"], "-i", "pipe:0", "-filter_complex_threads", "1",
            "-filter_complex", "[0:v:0]" + frames.Filter(ExifOrientation.Filter(header.Orientation ?? ExifOrientation.Upright), size),
            "-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "pipe:1",
        ];
        var budget = Budget(name, bytes, tools);
        await using var process = FfmpegProcess.Start(tools.Ffmpeg, arguments, cancellationToken, budget);
        var feeding = process.FeedAsync(new MemoryStream(PictureTrim.FirstFrame(bytes, header)));
        RgbImage? image;
        try
        {
            image = await process.WithinBudgetAsync(ReadPixmapAsync(process.Output, cancellationToken)).ConfigureAwait(false);
        }
        finally
        {
            process.Output.Close();
            await feeding.ConfigureAwait(false);
        }

        var exitCode = await process.ExitCodeAsync().ConfigureAwait(false);
        if (exitCode == 0 && image is not null)
            return header.LacksEnd ? image with { Warning = $"{name} has no end marker: it was read all the same, but may be cut short" } : image;
        throw header.Hdr?.Missing(name, process.Errors) ?? budget.OutOfMemory(process.Errors)
            ?? (header.LacksEnd ? MediaFault.PictureDamaged(name, MediaFault.CutShort) : Failure(name, process.Errors));
    }

    private static async Task<T> OpenAsync<T>(string path, Func<Stream, Task<T>> read)
    {
        try
        {
            await using var source = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, useAsync: true);
            return await read(source).ConfigureAwait(false);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw MediaFault.Missing(path, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw MediaFault.Unreadable(path, e);
        }
    }

    private static async Task<byte[]> ReadAllAsync(Stream source, string name, CancellationToken cancellationToken)
    {
        var tooMany = MediaFault.PictureFileTooLarge(name, MaxBytes);
        // Allocates the whole file at once: a growing buffer would take four times as much.
        var known = source.CanSeek ? source.Length - source.Position : 0;
        if (known > MaxBytes)
            throw tooMany;
        var bytes = new byte[Math.Max(known, 1 << 16)];
        var length = 0;
        while (await source.ReadAsync(bytes.AsMemory(length), cancellationToken).ConfigureAwait(false) is var read and not 0)
        {
            length += read;
            if (length > MaxBytes)
                throw tooMany;
            // A full buffer of known length needs no resize, unless the file grows meanwhile.
            if (length == bytes.Length && (!source.CanSeek || source.Position < source.Length))
                Array.Resize(ref bytes, Math.Min(2 * length, MaxBytes + 1));
        }

        if (length == 0)
            throw MediaFault.Empty(name);
        return length == bytes.Length ? bytes : bytes[..length];
    }

    // Reads the header with as little decoding as possible.
    private static async Task<PictureHeader> ReadHeaderAsync(byte[] bytes, string name, FfmpegTools tools, CancellationToken cancellationToken)
    {
        PictureHeader? header;
        try
        {
            header = PictureHeader.Read(bytes);
        }
        catch (InvalidDataException e)
        {
            throw MediaFault.PictureDamaged(name, e.Message, e);
        }

        header ??= await ProbeAsync(bytes, name, tools, cancellationToken).ConfigureAwait(false);
        if (header is { Width: 0 } or { Height: 0 })
            throw MediaFault.PictureEmpty(name, header.Width, header.Height);
        if (IsTooLarge((header.Width, header.Height)))
            throw MediaFault.PictureTooLarge(name, $"{header.Width}x{header.Height}", MaxPixels);
        if (IsTooLarge(header.Shown))
            throw MediaFault.PictureTooLarge(name, $"{header.Shown.Width}x{header.Shown.Height}", MaxPixels);
        return !header.IsAnimatedWebP
            ? header
            : throw MediaFault.AnimatedWebP(name);
    }

    // Checks each side as well, because the product of two 32-bit sides can overflow.
    private static bool IsTooLarge((long Width, long Height) size) =>
        size.Width >= MaxPixels || size.Height >= MaxPixels || size.Width * size.Height >= MaxPixels;

    // For formats without a header reader here.
    private static async Task<PictureHeader> ProbeAsync(byte[] bytes, string name, FfmpegTools tools, CancellationToken cancellationToken)
    {
        var budget = Budget(name, bytes, tools);
        await using var process = FfmpegProcess.Start(tools.Ffprobe,
            ["-hide_banner", "-loglevel", "error", .. InputArguments, .. TiffLength(bytes), "-threads", "1", "-select_streams", "v:0", "-show_streams", "-show_format", "-of", "json", "-i", "pipe:0"], cancellationToken, budget);
        var json = await process.ReadAllTextAsync(new MemoryStream(bytes)).ConfigureAwait(false);
        var exitCode = await process.ExitCodeAsync().ConfigureAwait(false);
        if (exitCode != 0 || VideoInfoReader.Read(json) is not { } info)
            throw budget.OutOfMemory(process.Errors) ?? Failure(name, process.Errors);
        // ffmpeg ignores the orientation of TIFF; such a file is itself an EXIF block.
        var orientation = IsTiff(bytes) ? ExifOrientation.Read(bytes) : (int?)null;
        var sideways = ExifOrientation.IsSideways(orientation ?? ExifOrientation.Upright);
        return new PictureHeader(info.StoredWidth, info.StoredHeight, orientation, IsSideways: sideways)
        {
            Aspect = info.PixelAspect, HasAlpha = info.HasAlpha, Hdr = info.Hdr,
        };
    }

    // ffmpeg reports unknown tags of a TIFF as errors.
    private static bool IsTiff(ReadOnlySpan<byte> bytes) => bytes.StartsWith("II*\0"u8) || bytes.StartsWith("MM\0*"u8);

    // From a pipe, ffmpeg assumes that a TIFF ends after 4 KiB unless it gets the length.
    private static string[] TiffLength(byte[] bytes) =>
        IsTiff(bytes) ? ["-f", "tiff_pipe", "-frame_size", bytes.Length.ToString(CultureInfo.InvariantCulture)] : [];

    private static DecodeBudget Budget(string name, byte[] bytes, FfmpegTools tools) => new(name, tools.Limits, bytes.Length, tools.Limits.Step);

    private static MediaException Failure(string name, ErrorOutput errors) => errors.OversizedPicture() is { } size
        ? MediaFault.PictureTooLarge(name, size, MaxPixels)
        : MediaFault.NoPicture(name, errors);

    // Parses "P6\n640 384\n255\n" and the pixels; null if the decoder wrote nothing.
    private static async Task<RgbImage?> ReadPixmapAsync(Stream stream, CancellationToken cancellationToken)
    {
        var header = new StringBuilder();
        var one = new byte[1];
        for (var lines = 0; lines < 3; lines += one[0] == '\n' ? 1 : 0)
        {
            if (header.Length > 64 || await stream.ReadAsync(one, cancellationToken).ConfigureAwait(false) == 0)
                return null;
            header.Append((char)one[0]);
        }

        var fields = header.ToString().Split(['\n', ' '], StringSplitOptions.RemoveEmptyEntries);
        if (fields is not ["P6", var width, var height, "255"])
            return null;
        var (w, h) = (int.Parse(width, CultureInfo.InvariantCulture), int.Parse(height, CultureInfo.InvariantCulture));
        var pixels = new byte[checked(w * h * 3)];
        var read = await stream.ReadAtLeastAsync(pixels, pixels.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        return read == pixels.Length ? new RgbImage(w, h, pixels) : null;
    }
}
