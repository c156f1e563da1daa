using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub;

/// <summary>A folder that is written under a hidden name and gets its own when it is whole; else it goes away.</summary>
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

    /// <summary>Where to write.</summary>
    internal string Path { get; }

    /// <summary>Begins to write.</summary>
    /// <param name="target">What the folder will be called; it must not exist, or be empty.</param>
    /// <param name="bytes">How much will be written.</param>
    /// <exception cref="CheckpointException">It holds something, or the disk is too small.</exception>
    internal static NewFolder Begin(string target, long bytes)
    {
        var full = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(target));
        if (File.Exists(full) || (Directory.Exists(full) && Directory.EnumerateFileSystemEntries(full).Any()))
            throw new CheckpointException($"{target} is there and not empty: choose a new folder, or remove it");
        return DiskSpace.Shortage(full, bytes) is { } shortage ? throw new CheckpointException(shortage) : new NewFolder(full);
    }

    /// <summary>Gives it its name.</summary>
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

/// <summary>How far the writing of a checkpoint is.</summary>
/// <param name="Part">Component that is being written.</param>
/// <param name="Bytes">Bytes written.</param>
/// <param name="TotalBytes">Bytes there will be.</param>
public sealed record WorkProgress(string Part, long Bytes, long TotalBytes);

/// <summary>Whether what is to be written has room.</summary>
internal static class DiskSpace
{
    private const long Spare = 64 << 20;

    /// <summary>A sentence when it has not, else null.</summary>
    /// <param name="folder">Where to; it need not exist.</param>
    /// <param name="bytes">How much.</param>
    /// <param name="free">Free bytes on the disk of a folder that exists; null asks the system.</param>
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
