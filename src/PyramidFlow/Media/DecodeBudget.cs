using System.Globalization;
using System.Runtime.InteropServices;

namespace PyramidFlow.Media;

/// <summary>What decoding one stranger's file may cost, so that a small file cannot take a machine's memory or time.</summary>
internal sealed partial record DecodeLimits
{
    /// <summary>Environment variable with the memory of one decoder, MiB.</summary>
    public const string MemoryVariable = "PYRAMIDFLOW_DECODER_MEMORY";

    /// <summary>Environment variable with the seconds on the processor that one file may take, whatever its size.</summary>
    public const string SecondsVariable = "PYRAMIDFLOW_DECODER_SECONDS";

    // ffmpeg's libraries alone set 165 MiB aside; a decoder with less does not start.
    private const int LeastMemory = 256;

    /// <summary>Memory of one decoder with its libraries, bytes. A picture of 100 megapixels without transparency fits in.</summary>
    public long MemoryBytes { get; init; } = 640L << 20;

    /// <summary>Time on the processor in which the next frame, or a whole picture, has to come.</summary>
    public TimeSpan Step { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Time by the clock after which a decoder that gives nothing is stuck; long, because machines are busy.</summary>
    public TimeSpan Stall { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>
    /// Bytes of a file that pay for another second on the processor. Videos that people record have ten times as many and more;
    /// those made to hurt hold thousands of large frames in some bytes each.
    /// </summary>
    public long BytesPerSecond { get; init; } = 20_000;

    /// <summary>Time on the processor that one file may take, or null for what its size pays for.</summary>
    public TimeSpan? Whole { get; init; }

    /// <summary>The limits that hold, with the memory and the time that the environment names.</summary>
    /// <exception cref="MediaException">One of them is no whole number, or too small.</exception>
    public static DecodeLimits FromEnvironment() =>
        From(Environment.GetEnvironmentVariable(MemoryVariable), Environment.GetEnvironmentVariable(SecondsVariable));

    /// <exception cref="MediaException">A value is no whole number, or too small.</exception>
    internal static DecodeLimits From(string? memory, string? seconds = null)
    {
        var limits = new DecodeLimits();
        if (!string.IsNullOrEmpty(memory))
            limits = limits with
            {
                MemoryBytes = (long)(Number(memory, LeastMemory)
                    ?? throw new MediaException($"{MemoryVariable} is '{memory}': set it to the MiB that one decoder may take, {LeastMemory} or more, such as 640")) << 20,
            };
        if (!string.IsNullOrEmpty(seconds))
            limits = limits with
            {
                Whole = TimeSpan.FromSeconds(Number(seconds, 1)
                    ?? throw new MediaException($"{SecondsVariable} is '{seconds}': set it to the seconds of work that one file may take, 1 or more, such as 600")),
            };
        return limits;
    }

    private static int? Number(string text, int least) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least ? number : null;

    /// <summary>Limits the memory of a running program; where the system cannot, its time is limited all the same.</summary>
    public void Apply(int process)
    {
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess)
            return;
        var limit = new ResourceLimit(MemoryBytes, MemoryBytes);
        _ = prlimit(process, DataResource, limit, 0);
    }

    // RLIMIT_DATA: what a process may write to. Address space would count libraries and room that is only set aside.
    private const int DataResource = 2;

    [LibraryImport("libc")]
    private static partial int prlimit(int process, int resource, in ResourceLimit limit, nint old);

    private readonly record struct ResourceLimit(long Soft, long Hard);
}

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
