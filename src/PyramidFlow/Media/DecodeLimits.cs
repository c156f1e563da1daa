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
