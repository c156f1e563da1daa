using System.Globalization;
using System.Runtime.InteropServices;

namespace PyramidFlow.Media;

/// <summary>What decoding one stranger's file may cost, so that a small file cannot take a machine's memory or time.</summary>
internal sealed partial record DecodeLimits
{
    /// <summary>Environment variable with the memory of one decoder, MiB.</summary>
    public const string MemoryVariable = "PYRAMIDFLOW_DECODER_MEMORY";

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

    /// <summary>The limits that hold, with the memory that the environment names.</summary>
    public static DecodeLimits FromEnvironment() => From(Environment.GetEnvironmentVariable(MemoryVariable));

    /// <exception cref="MediaException">The memory is no whole number of MiB, or too little.</exception>
    internal static DecodeLimits From(string? memory)
    {
        if (string.IsNullOrEmpty(memory))
            return new DecodeLimits();
        return int.TryParse(memory, NumberStyles.None, CultureInfo.InvariantCulture, out var mebibytes) && mebibytes >= LeastMemory
            ? new DecodeLimits { MemoryBytes = (long)mebibytes << 20 }
            : throw new MediaException($"{MemoryVariable} is '{memory}': set it to the MiB that one decoder may take, {LeastMemory} or more, such as 640");
    }

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
