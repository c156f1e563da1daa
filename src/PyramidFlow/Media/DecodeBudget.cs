using System.Globalization;
using System.Runtime.InteropServices;

namespace PyramidFlow.Media;

/// <summary>Limits of memory and time for decoding one untrusted file, so that a small file cannot exhaust the machine.</summary>
internal sealed partial record DecodeLimits
{
    /// <summary>Environment variable: memory of one decoder in MiB.</summary>
    public const string MemoryVariable = "PYRAMIDFLOW_DECODER_MEMORY";

    /// <summary>Environment variable: CPU seconds for one file of any size.</summary>
    public const string SecondsVariable = "PYRAMIDFLOW_DECODER_SECONDS";

    // The libraries of ffmpeg alone reserve 165 MiB; a decoder with less does not start.
    private const int LeastMemory = 256;

    /// <summary>Memory of one decoder with its libraries, in bytes; enough for an opaque picture of 100 megapixels.</summary>
    public long MemoryBytes { get; init; } = 640L << 20;

    /// <summary>CPU time for the next frame, or for a whole picture.</summary>
    public TimeSpan Step { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Elapsed time without output after which a decoder counts as stuck; long, because machines can be busy.</summary>
    public TimeSpan Stall { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>
    /// Bytes of a file that allow one more CPU second. Recorded videos have at least ten times as many; malicious ones hold thousands
    /// of large frames in a few bytes each.
    /// </summary>
    public long BytesPerSecond { get; init; } = 20_000;

    /// <summary>CPU time for one file; null derives it from its size.</summary>
    public TimeSpan? Whole { get; init; }

    /// <summary>The default limits with the memory and time from the environment.</summary>
    /// <exception cref="MediaException">A variable is not an integer, or too small.</exception>
    public static DecodeLimits FromEnvironment() =>
        From(Environment.GetEnvironmentVariable(MemoryVariable), Environment.GetEnvironmentVariable(SecondsVariable));

    /// <exception cref="MediaException">A value is not an integer, or too small.</exception>
    internal static DecodeLimits From(string? memory, string? seconds = null)
    {
        var limits = new DecodeLimits();
        if (!string.IsNullOrEmpty(memory))
            limits = limits with
            {
                MemoryBytes = (long)(Number(memory, LeastMemory)
                    ?? throw MediaFault.BadVariable(MemoryVariable, memory, $"the MiB that one decoder may take, {LeastMemory} or more, such as 640")) << 20,
            };
        if (!string.IsNullOrEmpty(seconds))
            limits = limits with
            {
                Whole = TimeSpan.FromSeconds(Number(seconds, 1)
                    ?? throw MediaFault.BadVariable(SecondsVariable, seconds, "the seconds of work that one file may take, 1 or more, such as 600")),
            };
        return limits;
    }

    private static int? Number(string text, int least) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least ? number : null;

    /// <summary>Limits the memory of a running program, on Linux only; the time limit applies on every system.</summary>
    public void Apply(int process)
    {
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess)
            return;
        var limit = new ResourceLimit(MemoryBytes, MemoryBytes);
        _ = prlimit(process, DataResource, limit, 0);
    }

    // RLIMIT_DATA limits writable memory. A limit of the address space would also count libraries and reservations.
    private const int DataResource = 2;

    [LibraryImport("libc")]
    private static partial int prlimit(int process, int resource, in ResourceLimit limit, nint old);

    private readonly record struct ResourceLimit(long Soft, long Hard);
}

/// <summary>The CPU time spent on decoding one file, over all programs that run for it, and its limits.</summary>
/// <param name="name">Name of the file for error messages.</param>
/// <param name="limits">Limits for any file.</param>
/// <param name="fileBytes">Size of the file in bytes.</param>
/// <param name="most">Maximum CPU time; null derives it from the size of the file.</param>
internal sealed class DecodeBudget(string name, DecodeLimits limits, long fileBytes, TimeSpan? most = null)
{
    private readonly TimeSpan total = Least(limits.Whole ?? limits.Step + TimeSpan.FromSeconds((double)fileBytes / limits.BytesPerSecond), most ?? TimeSpan.MaxValue);
    private TimeSpan ended;
    private TimeSpan running;

    /// <summary>Limits for any file.</summary>
    public DecodeLimits Limits => limits;

    /// <summary>Whether the file is a raw codec stream, in which all frames before the requested ones are decoded.</summary>
    public bool IsRawStream { get; init; }

    /// <summary>Creates the budget of a file on disk.</summary>
    public static DecodeBudget ForFile(string path, FfmpegTools tools, TimeSpan? most = null, VideoInfo? info = null) =>
        new(path, tools.Limits, new FileInfo(path).Length, most) { IsRawStream = info is { CanSeek: false } };

    /// <summary>Checks the CPU time of the running program against the limits.</summary>
    /// <param name="used">CPU time since it started.</param>
    /// <param name="before">CPU time at the start of the current step.</param>
    /// <exception cref="MediaException">A limit is exceeded.</exception>
    public void Check(TimeSpan used, TimeSpan before)
    {
        running = used;
        if (used - before > limits.Step)
            throw MediaFault.SlowStep(name, limits.Step, IsRawStream);
        if (ended + used > total)
            throw MediaFault.TooMuchWork(name, fileBytes, total, Variable);
    }

    // The environment does not raise a limit set by the caller.
    private string? Variable => most is null ? DecodeLimits.SecondsVariable : null;

    /// <summary>Adds the CPU time of the program, which has exited, to the total.</summary>
    public void End() => (ended, running) = (ended + running, TimeSpan.Zero);

    /// <summary>The error for a decoder without output or progress.</summary>
    public MediaException Stuck() => MediaFault.Stuck(name);

    /// <summary>The error if a program reported a lack of memory, else null.</summary>
    public MediaException? OutOfMemory(ErrorOutput errors) => errors.ReportOutOfMemory
        ? MediaFault.TooMuchMemory(name, limits.MemoryBytes)
        : null;

    private static TimeSpan Least(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
