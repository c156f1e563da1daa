using PyramidFlow.Torch;
using static System.FormattableString;

namespace PyramidFlow.Media;

/// <summary>
/// A picture or video could not be read or written. <see cref="PyramidFlowException.Parameters"/> names the <c>file</c>, or the
/// value that is impossible; the message tells the reason and the fix.
/// </summary>
public sealed class MediaException : PyramidFlowException
{
    /// <summary>Creates the error.</summary>
    /// <param name="code">Stable name of the cause, such as <c>file_missing</c>.</param>
    /// <param name="message">One sentence for the user.</param>
    /// <param name="inner">The cause, or null.</param>
    /// <param name="parameters">The values that the sentence is about.</param>
    public MediaException(string code, string message, Exception? inner = null, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, message, inner, parameters)
    {
    }
}

/// <summary>All errors about pictures and videos: the only place of their codes and sentences.</summary>
internal static class MediaFault
{
    /// <summary>Code of ffmpeg or ffprobe that is not installed.</summary>
    public const string ProgramMissingCode = "program_missing";

    /// <summary>Reason of a file that ends too early.</summary>
    public const string CutShort = "it is cut short";

    /// <summary>Reason of a picture with more data than its size allows.</summary>
    public const string TooMuchData = "it holds more than a picture of its size";

    private const string NoSpace = "No space left on device";

    /// <summary>Reason of a file whose texts are too long.</summary>
    public static string TooMuchText(int mostBytes) => $"it holds more than {mostBytes >> 20} MiB of text";

    // Files.

    public static MediaException Missing(string file, Exception? inner = null) => new("file_missing", $"{file} does not exist", inner, ("file", file));

    public static MediaException Folder(string file) => new("file_is_folder", $"{file} is a folder, not a file", null, ("file", file));

    public static MediaException Empty(string file) => new("file_empty", $"{file} is empty", null, ("file", file));

    public static MediaException Unreadable(string file, Exception inner) => Directory.Exists(file)
        ? new("file_is_folder", $"cannot read {file}: it is a folder", inner, ("file", file))
        : new("file_unreadable", $"cannot read {file}: {inner.Message}", inner, ("file", file), ("reason", inner.Message));

    public static MediaException Damaged(string file, string reason, Exception inner) =>
        new("file_damaged", $"{file} is damaged: {reason}", inner, ("file", file), ("reason", reason));

    public static MediaException DamagedPng(string file, Exception inner) =>
        new("file_damaged", $"{file} is not a whole PNG file: {inner.Message}", inner, ("file", file), ("reason", inner.Message));

    // Pictures.

    public static MediaException PictureFileTooLarge(string file, int mostBytes) =>
        new("file_too_large", $"{file} has more than {mostBytes >> 20} MiB: use a smaller picture", null, ("file", file), ("most_mib", mostBytes >> 20));

    public static MediaException PictureDamaged(string file, string reason, Exception? inner = null) =>
        new("picture_damaged", $"{file} is not a whole picture: {reason}", inner, ("file", file), ("reason", reason));

    public static MediaException PictureEmpty(string file, long width, long height) =>
        new("picture_empty", $"{file} is a picture of {width}x{height} pixels: there is nothing in it", null, ("file", file), ("size", $"{width}x{height}"));

    public static MediaException PictureTooLarge(string file, string size, int mostPixels) =>
        new("too_many_pixels", $"{file} is too large ({size} pixels): make it smaller than {mostPixels / 1_000_000} megapixels", null,
            ("file", file), ("size", size), ("most_megapixels", mostPixels / 1_000_000));

    public static MediaException AnimatedWebP(string file) =>
        new("animated_webp", $"{file} is an animated WebP, which ffmpeg cannot read: save one frame of it as PNG or JPEG", null, ("file", file));

    public static MediaException NoPicture(string file, ErrorOutput errors) =>
        new("not_a_picture", $"{file} is not a picture that ffmpeg can read, or it is damaged; use PNG, JPEG or WebP ({errors})", null,
            ("file", file), ("reason", $"{errors}"));

    // Videos.

    public static MediaException VideoTooLarge(string file, string size, int mostPixels) =>
        new("too_many_pixels", $"{file} is too large ({size} pixels): use a video of at most {mostPixels / 1_000_000} megapixels", null,
            ("file", file), ("size", size), ("most_megapixels", mostPixels / 1_000_000));

    public static MediaException NoVideo(string file, ErrorOutput errors) => errors.IsEmpty
        ? new("video_without_picture", $"{file} is not a video that ffmpeg can read, or it is damaged: it has no picture", null, ("file", file))
        : new("not_a_video", $"{file} is not a video that ffmpeg can read, or it is damaged ({errors})", null, ("file", file), ("reason", $"{errors}"));

    public static MediaException VideoDamaged(string file, long frames, string perhaps, ErrorOutput errors) =>
        new("video_damaged", $"{file} is damaged after frame {frames}{perhaps}: {errors}", null, ("file", file), ("frames", frames), ("reason", $"{errors}"));

    public static MediaException NoFrames(string file) => new("no_frames", $"{file} has no frames", null, ("file", file));

    public static MediaException StartAfterEnd(string file, TimeSpan start, TimeSpan duration) =>
        new("start_after_end", Invariant($"{file} has no frame from second {start.TotalSeconds} on: it is {duration.TotalSeconds} s long"), null,
            ("file", file), ("start", start.TotalSeconds), ("duration", duration.TotalSeconds));

    public static MediaException Hdr(string file, string transfer) =>
        new("hdr_unsupported", $"{file} is HDR ({transfer}), and this ffmpeg cannot convert that because it was built without zscale: install one that has it (that of Debian and Ubuntu does), or convert the file to SDR first",
            null, ("file", file), ("transfer", transfer));

    // Values of callers.

    public static MediaException TooManyFrames(int count, int width, int height) =>
        new("too_many_frames", $"{count} frames of {width}x{height} at once are too many: ask for fewer or smaller ones", null,
            ("frames", count), ("size", $"{width}x{height}"));

    public static MediaException RateOutOfRange(double fps) =>
        new("fps_out_of_range", Invariant($"{fps} frames per second is impossible: use 1 to 240"), null, ("fps", fps));

    public static MediaException NegativeStart() => new("negative_start", "a video cannot start before second 0");

    public static MediaException NoFrameAsked() => new("no_frame_asked", "the number of frames must be at least 1");

    public static MediaException HalfSize() => new("half_size", "width and height go together: give both or neither");

    public static MediaException SizeOutOfRange(int? width, int? height) =>
        new("size_out_of_range", $"cannot resize to {width}x{height}: sizes are 1 to 16384", null, ("size", $"{width}x{height}"));

    public static MediaException FrameOutOfRange(int width, int height) =>
        new("size_out_of_range", $"a video cannot be {width}x{height}: sizes are positive and a frame is at most 2 GB", null, ("size", $"{width}x{height}"));

    public static MediaException GifTooLarge(int width, int height) =>
        new("size_out_of_range", $"{width}x{height} is too large for a .gif: use at most {ushort.MaxValue} a side, or .mp4", null,
            ("size", $"{width}x{height}"), ("most", (int)ushort.MaxValue));

    public static MediaException OddSize(string side, int size) =>
        new("odd_size", $"{side} {size} is odd, and H.264 video needs even sizes: use {(size == 1 ? 2 : size - 1)} or {size + 1}", null,
            ("side", side), ("value", size), ("below", size == 1 ? 2 : size - 1), ("above", size + 1));

    public static MediaException CrfOutOfRange(int crf) =>
        new("crf_out_of_range", $"crf {crf} is out of range: use 0 (lossless) to 51 (worst), 17 by default", null, ("crf", crf));

    public static MediaException UnknownFormat(string file, string extension, IEnumerable<string> known) =>
        new("unknown_format", $"cannot write {(extension.Length == 0 ? "a video without an extension" : $"{extension} videos")} ({file}): name it {string.Join(" or ", known)}", null,
            ("file", file), ("extension", extension), ("known", string.Join(" or ", known)));

    public static MediaException NoStreamFormat(string file) =>
        new("no_stream_format", $"only .mp4 can be watched while it is written, {file} cannot: name it .mp4", null, ("file", file));

    public static MediaException BadVariable(string variable, string value, string meaning) =>
        new("bad_variable", $"{variable} is '{value}': set it to {meaning}", null, ("variable", variable), ("value", value));

    // Texts in files.

    public static MediaException BadPngKey(string key) =>
        new("bad_metadata_key", $"PNG metadata key '{key}' must be 1 to 79 Latin-1 characters without spaces around", null, ("key", key));

    public static MediaException BadKey(string key) =>
        new("bad_metadata_key", $"metadata key '{key}' must be made of letters, digits and underscores", null, ("key", key));

    public static MediaException NulInText(string key) =>
        new("nul_in_metadata", $"metadata {key} contains a null character: remove it", null, ("key", key));

    public static MediaException TextTooLong(string key, int length, int mostBytes) =>
        new("metadata_too_long", $"metadata {key} has {length} characters: shorten it to {mostBytes} bytes", null, ("key", key), ("length", length), ("most_bytes", mostBytes));

    public static MediaException TooMuchSaid(int mostBytes) =>
        new("metadata_too_long", $"a file says more than {mostBytes >> 20} MiB about itself: write it anew without its texts (ffmpeg -i in -map_metadata -1 -c copy out)", null,
            ("most_mib", mostBytes >> 20));

    // Work of decoders.

    public static MediaException SlowStep(string file, TimeSpan most, bool isRawStream) =>
        new(isRawStream ? "raw_stream_too_slow" : "decoder_too_slow", Invariant(
            $"{file} is refused: its next picture did not come in {most.TotalSeconds:0.#} s of work. {(isRawStream
                ? "It is a raw stream, in which no later frame can be found: write it anew into a container (ffmpeg -i in out.mp4)"
                : "Make it smaller, or write a video anew with more key frames (ffmpeg -i in -g 48 out)")}"), null, ("file", file), ("seconds", most.TotalSeconds));

    /// <summary>The error for a whole file that takes too long.</summary>
    /// <param name="file">The file.</param>
    /// <param name="bytes">Its length.</param>
    /// <param name="most">The limit.</param>
    /// <param name="variable">Variable of the environment that raises the limit; null where it does not.</param>
    public static MediaException TooMuchWork(string file, long bytes, TimeSpan most, string? variable) =>
        new("decoding_too_long", Invariant(
            $"{file} is refused: {bytes} bytes are not decoded after {most.TotalSeconds:0.#} s of work. Make it shorter or its frames smaller{(variable is null ? "" : $", or set {variable} to the seconds that it may take")}"),
            null, ("file", file), ("bytes", bytes), ("seconds", most.TotalSeconds), ("variable", variable));

    public static MediaException Stuck(string file) => new("decoder_stuck", $"{file} is refused: its decoder does not go on", null, ("file", file));

    public static MediaException TooMuchMemory(string file, long mostBytes) =>
        new("decoder_out_of_memory", $"{file} is refused: decoding it takes more than {mostBytes >> 20} MiB of memory. Make it smaller", null,
            ("file", file), ("most_mib", mostBytes >> 20));

    // Programs.

    public static MediaException ProgramMissing(string program, string? path, Exception inner) =>
        new(ProgramMissingCode, $"{program} was not found{(path is null ? "" : $" at {path}")}: install it with 'apt install ffmpeg' or set PYRAMIDFLOW_FFMPEG", inner,
            ("program", program), ("path", path));

    /// <summary>The error of a program that failed.</summary>
    /// <param name="failure">What failed, such as "ffmpeg -version failed".</param>
    /// <param name="errors">Its error output.</param>
    public static MediaException ProgramFailed(string failure, ErrorOutput errors) =>
        new("program_failed", $"{failure}: {errors}", null, ("failure", failure), ("reason", $"{errors}"));

    // Writing.

    public static MediaException NoFrameWritten(string file) => new("no_frame_written", $"{file} would be empty: no frame was written", null, ("file", file));

    public static MediaException NoFragment(string file) => new("write_failed", $"ffmpeg could not write {file}: it gave no fragment", null, ("file", file));

    public static MediaException ReaderClosed(string file, long frames, Exception inner) =>
        new("reader_closed", $"{file} was closed by its reader after {frames} {(frames == 1 ? "frame" : "frames")}: {inner.Message}", inner, ("file", file), ("frames", frames));

    public static MediaException TargetIsFolder(string file, Exception? inner = null) => inner is null
        ? new("file_is_folder", $"{file} is a folder: name a file in it, such as {Path.Combine(file, "video.mp4")}", null, ("file", file))
        : new("file_is_folder", $"{file} is a folder: name a file in it", inner, ("file", file));

    public static MediaException FolderUnwritable(string folder, Exception inner) =>
        new("folder_unwritable", $"cannot write to the folder {folder}: {inner.Message}", inner, ("folder", folder), ("reason", inner.Message));

    /// <summary>The error from the error output of an encoder.</summary>
    /// <param name="target">Path, or name of the stream.</param>
    /// <param name="errors">Error output of the encoder.</param>
    public static MediaException NotWritten(string target, ErrorOutput errors)
    {
        if (errors.Contains(NoSpace))
            return DiskFull(target);
        return errors.Contains("Unknown encoder")
            ? new MediaException("encoder_missing", "this ffmpeg was built without libx264: install another with 'apt install ffmpeg' or set PYRAMIDFLOW_FFMPEG")
            : new MediaException("write_failed", $"ffmpeg could not write {target}: {errors}", null, ("file", target), ("reason", $"{errors}"));
    }

    /// <summary>The error from a failed write.</summary>
    /// <param name="target">Path, or name of the stream.</param>
    /// <param name="error">Exception of the write.</param>
    public static MediaException NotWritten(string target, Exception error) => IsDiskFull(error)
        ? DiskFull(target, error)
        : new MediaException("write_failed", $"cannot write {target}: {error.Message}", error, ("file", target), ("reason", error.Message));

    public static bool IsDiskFull(Exception error) => error.Message.Contains(NoSpace, StringComparison.Ordinal);

    private static MediaException DiskFull(string target, Exception? error = null)
    {
        var folder = Path.GetDirectoryName(target);
        var place = string.IsNullOrEmpty(folder) ? $" where {target} goes" : $" in {folder}";
        return new MediaException("disk_full", $"the disk is full: free some space{place} or write to another folder", error,
            ("file", target), ("folder", string.IsNullOrEmpty(folder) ? null : folder));
    }
}
