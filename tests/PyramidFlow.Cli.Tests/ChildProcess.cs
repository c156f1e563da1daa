using System.Diagnostics;
using System.Globalization;

namespace PyramidFlow.Cli.Tests;

/// <summary>A process that another one started, as the kernel lists it. The time of its start tells it from a later process of the same number.</summary>
internal sealed record ChildProcess(int Id, string Started)
{
    private const int Parent = 1, StartTime = 19;

    /// <summary>Whether it still runs; a process that has ended and is not yet waited for does not.</summary>
    public bool Lives => Read(Id) is { } fields && fields[StartTime] == Started && fields[0] is not "Z" and not "X";

    /// <summary>The processes that one started itself and that run.</summary>
    public static IReadOnlyList<ChildProcess> Of(int parent) => [.. Directory.EnumerateDirectories("/proc")
        .Select(folder => int.TryParse(Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out var id) ? id : 0)
        .Where(id => id > 0)
        .Select(id => (Id: id, Fields: Read(id)))
        .Where(process => process.Fields?[Parent] == parent.ToString(CultureInfo.InvariantCulture))
        .Select(process => new ChildProcess(process.Id, process.Fields![StartTime]))
        .Where(process => process.Lives)];

    /// <summary>Ends it at once, as <c>kill -9</c> does.</summary>
    public void Kill()
    {
        try
        {
            using var process = Process.GetProcessById(Id);
            if (Lives)
                process.Kill();
        }
        catch (ArgumentException)
        {
            // It has ended by itself.
        }
    }

    // What follows the name, which may hold spaces: state, parent, ...
    private static string[]? Read(int id)
    {
        try
        {
            var text = File.ReadAllText($"/proc/{id}/stat");
            return text[(text.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (IOException)
        {
            return null;
        }
    }
}
