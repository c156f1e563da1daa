using System.Globalization;

namespace PyramidFlow.Media;

/// <summary>A kind of video file we write: what it is called and what ffmpeg is told to make it.</summary>
internal abstract record VideoFormat(string Extension)
{
    private static readonly VideoFormat[] All = [new H264Format(), new GifFormat()];

    /// <summary>The format a file name's extension asks for.</summary>
    /// <exception cref="MediaException">We do not write such files.</exception>
    public static VideoFormat Of(string path)
    {
        var extension = Path.GetExtension(path).ToLowerInvariant();
        return All.FirstOrDefault(format => format.Extension == extension) ?? throw new MediaException(
            $"cannot write {(extension.Length == 0 ? "a video without an extension" : $"{extension} videos")} ({Path.GetFileName(path)}): "
            + $"name it {string.Join(" or ", All.Select(format => format.Extension))}");
    }

    /// <summary>Fails when the size, rate, quality or texts do not fit the format.</summary>
    /// <exception cref="MediaException">They do not.</exception>
    public void Check(VideoWriterOptions options, int width, int height)
    {
        if (width < 1 || height < 1 || (long)width * height * 3 > int.MaxValue)
            throw new MediaException($"a video cannot be {width}x{height}: sizes are positive and a frame is at most 2 GB");
        if (!(options.Fps > 0 && options.Fps <= 240))
            throw new MediaException(FormattableString.Invariant($"{options.Fps} frames per second is impossible: use 1 to 240"));
        if (options.Crf is < 0 or > 51)
            throw new MediaException($"crf {options.Crf} is out of range: use 0 (lossless) to 51 (worst), 17 by default");
        CheckSize(width, height);
        _ = VideoMetadata.Of(options).Count();
    }

    /// <summary>Input arguments for raw frames on standard input.</summary>
    public static IEnumerable<string> InputArguments(VideoWriterOptions options, int width, int height) =>
    [
        "-hide_banner", "-loglevel", "error", "-y",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", $"{width}x{height}",
        "-framerate", options.Fps.ToString("R", CultureInfo.InvariantCulture), "-i", "pipe:0",
    ];

    /// <summary>Fails when the size does not fit the format.</summary>
    /// <exception cref="MediaException">It does not.</exception>
    public abstract void CheckSize(int width, int height);

    /// <summary>Output arguments, without the file.</summary>
    public abstract IEnumerable<string> Arguments(VideoWriterOptions options);

    /// <summary>What is left to do with a file that ffmpeg has finished.</summary>
    /// <exception cref="IOException">The file could not be changed.</exception>
    public virtual void Finish(Stream file, VideoWriterOptions options)
    {
    }
}
