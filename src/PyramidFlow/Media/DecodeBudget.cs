namespace PyramidFlow.Media;

/// <summary>What is left of the time that decoding one file may take, over all programs that are run for it.</summary>
/// <param name="name">What to call the file in an error.</param>
/// <param name="limits">What is allowed.</param>
/// <param name="fileBytes">Size of the file.</param>
/// <param name="most">Time on the processor at most, or null for what the size of the file pays for.</param>
internal sealed class DecodeBudget(string name, DecodeLimits limits, long fileBytes, TimeSpan? most = null)
{
    private readonly TimeSpan total = Least(limits.Whole ?? limits.Step + TimeSpan.FromSeconds((double)fileBytes / limits.BytesPerSecond), most ?? TimeSpan.MaxValue);
    private TimeSpan ended;
    private TimeSpan running;

    /// <summary>What is allowed.</summary>
    public DecodeLimits Limits => limits;

    /// <summary>Whether the file is a raw stream of a codec, all of whose frames before the wanted ones are decoded.</summary>
    public bool IsRawStream { get; init; }

    /// <summary>For a file on the disk.</summary>
    public static DecodeBudget OfFile(string path, FfmpegTools tools, TimeSpan? most = null, VideoInfo? info = null) =>
        new(path, tools.Limits, new FileInfo(path).Length, most) { IsRawStream = info is { CanSeek: false } };

    /// <summary>Notes how long the program that runs now has been on the processor.</summary>
    /// <param name="used">Since it started.</param>
    /// <param name="before">What it was when the step began that runs now.</param>
    /// <exception cref="MediaException">It was too long.</exception>
    public void Check(TimeSpan used, TimeSpan before)
    {
        running = used;
        if (used - before > limits.Step)
            throw new MediaException(FormattableString.Invariant(
                $"{name} is refused: its next picture did not come in {limits.Step.TotalSeconds:0.#} s of work. {Advice}"));
        if (ended + used > total)
            throw new MediaException(FormattableString.Invariant(
                $"{name} is refused: {fileBytes} bytes are not decoded after {total.TotalSeconds:0.#} s of work. Make it shorter or its frames smaller{Raise}"));
    }

    private string Advice => IsRawStream
        ? "It is a raw stream, in which no later frame can be found: write it anew into a container (ffmpeg -i in out.mp4)"
        : "Make it smaller, or write a video anew with more key frames (ffmpeg -i in -g 48 out)";

    // What the caller allows is no matter of the environment.
    private string Raise => most is null ? $", or set {DecodeLimits.SecondsVariable} to the seconds that it may take" : "";

    /// <summary>The program has ended; what it took stays counted.</summary>
    public void End() => (ended, running) = (ended + running, TimeSpan.Zero);

    /// <summary>The error of a decoder that gives nothing and does nothing.</summary>
    public MediaException Stuck() => new($"{name} is refused: its decoder does not go on");

    /// <summary>The error where what a program said means that its memory was not enough, else null.</summary>
    public MediaException? OutOfMemory(LastLines errors) => errors.TellOfMemory
        ? new MediaException($"{name} is refused: decoding it takes more than {limits.MemoryBytes >> 20} MiB of memory. Make it smaller")
        : null;

    private static TimeSpan Least(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
