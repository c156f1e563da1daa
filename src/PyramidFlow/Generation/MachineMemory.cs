using System.Globalization;

namespace PyramidFlow.Generation;

/// <summary>Memory of this machine, within the limits of the control groups that this process is in.</summary>
internal static class MachineMemory
{
    private const string Groups = "/proc/self/cgroup", Mounted = "/sys/fs/cgroup";

    /// <summary>Bytes that this process may take at most.</summary>
    internal static long Total => Math.Min(Number("/proc/meminfo", "MemTotal:") << 10 is var installed and > 0 ? installed : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, Limit(Groups, Mounted).Total);

    /// <summary>Bytes available without swapping.</summary>
    internal static long Available() => Number("/proc/meminfo", "MemAvailable:") << 10 is var free and > 0 ? Math.Min(Math.Min(Total, free), Limit(Groups, Mounted).Free) : Total;

    /// <summary>The least limit of the control groups of this process and of those above them; pages of files that were read count as free.</summary>
    /// <param name="groups">List of the control groups.</param>
    /// <param name="mounted">Where they are mounted.</param>
    /// <returns>The limit, and what of it is free; both <see cref="long.MaxValue"/> without one.</returns>
    internal static (long Total, long Free) Limit(string groups, string mounted)
    {
        var least = (Total: long.MaxValue, Free: long.MaxValue);
        if (!File.Exists(groups))
            return least;
        foreach (var line in File.ReadLines(groups))
        {
            // 0::/path of version 2, 4:memory:/path of version 1.
            if (line.Split(':', 3) is not [_, var controllers, var path] || (controllers.Length > 0 && !controllers.Split(',').Contains("memory")))
                continue;
            var (root, limit, usage, files) = controllers.Length == 0
                ? (mounted, "memory.max", "memory.current", "file")
                : (Path.Combine(mounted, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache");
            for (var folder = path.Trim('/'); ; folder = Path.GetDirectoryName(folder) ?? "")
            {
                var group = Path.Combine(root, folder);
                if (Value(Path.Combine(group, limit)) is { } most)
                {
                    var used = (Value(Path.Combine(group, usage)) ?? 0) - Number(Path.Combine(group, "memory.stat"), files);
                    least = (Math.Min(least.Total, most), Math.Min(least.Free, Math.Max(0, most - Math.Max(0, used))));
                }

                if (folder.Length == 0)
                    break;
            }
        }

        return least;
    }

    // The number behind a word at the beginning of a line; 0 where there is none.
    private static long Number(string file, string word)
    {
        if (!File.Exists(file))
            return 0;
        var line = File.ReadLines(file).Select(line => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)).FirstOrDefault(words => words.Length > 1 && words[0] == word);
        return line is not null && long.TryParse(line[1], NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;
    }

    // A file with one number; null where there is none, or the word max.
    private static long? Value(string file) =>
        File.Exists(file) && long.TryParse(File.ReadAllText(file).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
}
