using PyramidFlow.Torch;

namespace PyramidFlow.Hub;

/// <summary>A new folder that is written under a hidden name and renamed when complete; otherwise it is deleted.</summary>
internal sealed class NewFolder : IDisposable
{
    private readonly string target;
    private bool complete;

    private NewFolder(string target)
    {
        this.target = target;
        Path = System.IO.Path.Combine(System.IO.Path.GetDirectoryName(target)!, $".{System.IO.Path.GetFileName(target)}.partial-{Environment.ProcessId}");
        Directory.CreateDirectory(Path);
    }

    /// <summary>Path to write to.</summary>
    internal string Path { get; }

    /// <summary>Creates the hidden folder.</summary>
    /// <param name="target">Final path; it must not exist or be an empty folder.</param>
    /// <param name="bytes">Number of bytes that will be written.</param>
    /// <exception cref="CheckpointException">The target is not empty, or the disk is too small.</exception>
    internal static NewFolder Begin(string target, long bytes)
    {
        var full = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(target));
        if (File.Exists(full) || (Directory.Exists(full) && Directory.EnumerateFileSystemEntries(full).Any()))
            throw CheckpointFault.TargetNotEmpty(target);
        return DiskSpace.Shortage(full, bytes) is { } shortage ? throw CheckpointFault.DiskTooSmall(full, shortage) : new NewFolder(full);
    }

    /// <summary>Renames the folder to its final path.</summary>
    internal void Complete()
    {
        if (Directory.Exists(target))
            Directory.Delete(target);
        Directory.Move(Path, target);
        complete = true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!complete)
            Directory.Delete(Path, recursive: true);
    }
}

/// <summary>Progress of writing a checkpoint.</summary>
/// <param name="Part">Component being written.</param>
/// <param name="Bytes">Bytes written so far.</param>
/// <param name="TotalBytes">Total bytes.</param>
internal sealed record WorkProgress(string Part, long Bytes, long TotalBytes);

/// <summary>Checks free disk space before writing.</summary>
internal static class DiskSpace
{
    private const long Spare = 64 << 20;

    /// <summary>An error message if the disk is too small, else null.</summary>
    /// <param name="folder">Target folder; need not exist.</param>
    /// <param name="bytes">Bytes to write.</param>
    /// <param name="free">Returns the free bytes on the disk of an existing folder; null asks the system.</param>
    internal static string? Shortage(string folder, long bytes, Func<string, long>? free = null)
    {
        var place = Path.GetFullPath(folder);
        while (!Directory.Exists(place))
        {
            if (Path.GetDirectoryName(place) is not { } parent)
                return $"{folder} is on no disk: choose another place";
            place = parent;
        }

        var available = (free ?? (path => new DriveInfo(path).AvailableFreeSpace))(place);
        return bytes == 0 || bytes + Spare <= available ? null : FormattableString.Invariant(
            $"{folder} needs {bytes / 1e9:F1} GB more and its disk has {available / 1e9:F1} GB free: free some space, or choose another disk");
    }
}
