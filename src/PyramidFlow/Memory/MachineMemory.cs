using System.Globalization;

namespace PyramidFlow.Memory;

/// <summary>Memory of this machine.</summary>
internal static class MachineMemory
{
    /// <summary>Bytes there are, within the limits this process runs under.</summary>
    internal static long Total => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    /// <summary>Bytes that can be had without swapping, within the limits this process runs under.</summary>
    internal static long Available()
    {
        const string file = "/proc/meminfo";
        if (!File.Exists(file))
            return Total;
        var free = File.ReadLines(file).Select(line => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
            .FirstOrDefault(words => words is ["MemAvailable:", _, "kB"]);
        return free is null ? Total : Math.Min(Total, long.Parse(free[1], CultureInfo.InvariantCulture) << 10);
    }
}
