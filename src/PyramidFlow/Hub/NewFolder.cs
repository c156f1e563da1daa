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
