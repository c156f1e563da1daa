namespace PyramidFlow.Training.Shards;

/// <summary>
/// A folder for members of shards while a decoder reads them. It takes a limited number of bytes at a time, and no member longer than its reader needs it. What a killed process left behind is deleted by
/// the next one.
/// </summary>
/// <param name="parent">Folder in which the folder is made when it is first needed.</param>
/// <param name="most">Largest number of bytes at a time.</param>
internal sealed class Spool(string parent, long most)
{
    private const string Start = "pyramidflow-shards-", LockName = "lock";
    private const int Unit = 1 << 20;

    private readonly Lock gate = new();
    private readonly SemaphoreSlim entry = new(1), free = new((int)(most / Unit));
    private FileStream? held;

    /// <summary>The spool of this process, in the system's folder of temporary files.</summary>
    public static Spool Shared { get; } = new(Path.GetTempPath(), 8L << 30);

    /// <summary>Largest number of bytes at a time, which no member may exceed.</summary>
    public long Most => most;

    /// <summary>Writes a file; waits until there is room for it.</summary>
    /// <param name="ending">Ending of its name, such as <c>.mp4</c>.</param>
    /// <param name="size">Its size, at most <see cref="Most"/>.</param>
    /// <param name="fill">Writes its content.</param>
    /// <param name="cancellationToken">Cancels waiting and writing.</param>
    /// <exception cref="TrainingException">The folder cannot be written.</exception>
    public async Task<SpoolFile> AddAsync(string ending, long size, Func<Stream, Task> fill, CancellationToken cancellationToken)
    {
        var units = (int)Math.Clamp((size + Unit - 1) / Unit, 1, most / Unit);
        await TakeAsync(units, cancellationToken).ConfigureAwait(false);
        var file = new SpoolFile(this, units);
        try
        {
            file.Path = Path.Combine(Folder(), Guid.NewGuid().ToString("N") + ending);
            var stream = new FileStream(file.Path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 0, FileOptions.Asynchronous);
            await using (stream.ConfigureAwait(false))
                await fill(stream).ConfigureAwait(false);
            return file;
        }
        catch (Exception e)
        {
            file.Dispose();
            if (e is IOException or UnauthorizedAccessException)
                throw TrainingFault.SpoolNotWritten(parent, e);
            throw;
        }
    }

    /// <summary>Makes room again.</summary>
    internal void Release(int units) => free.Release(units);

    // One after the other: two that each wait for the rest of their room would wait for each other.
    private async Task TakeAsync(int units, CancellationToken cancellationToken)
    {
        var taken = 0;
        await entry.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            for (; taken < units; taken++)
                await free.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            if (taken > 0)
                free.Release(taken);
            throw;
        }
        finally
        {
            entry.Release();
        }
    }

    private string Folder()
    {
        lock (gate)
        {
            if (held is null)
            {
                DeleteAbandoned();
                // Only this user may read the folder.
                var folder = Directory.CreateDirectory(Path.Combine(parent, Start + Guid.NewGuid().ToString("N")[..12]));
                if (!OperatingSystem.IsWindows())
                    folder.UnixFileMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
                held = new FileStream(Path.Combine(folder.FullName, LockName), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
                AppDomain.CurrentDomain.ProcessExit += (_, _) => Delete(folder.FullName);
            }

            return Path.GetDirectoryName(held.Name)!;
        }
    }

    private void DeleteAbandoned()
    {
        foreach (var folder in new DirectoryInfo(parent).EnumerateDirectories(Start + "*").Where(folder => folder.LinkTarget is null))
        {
            try
            {
                // A process that runs holds the lock of its folder.
                using var other = new FileStream(Path.Combine(folder.FullName, LockName), FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                folder.Delete(recursive: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // In use, or of another user.
            }
        }
    }

    private static void Delete(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next process deletes it.
        }
    }
}

/// <summary>A file of a <see cref="Spool"/>; it is deleted when it is disposed.</summary>
internal sealed class SpoolFile(Spool spool, int units) : IDisposable
{
    private bool isDisposed;

    /// <summary>Full path; empty before the file is made.</summary>
    public string Path { get; internal set; } = "";

    /// <inheritdoc/>
    public void Dispose()
    {
        if (isDisposed)
            return;
        isDisposed = true;
        if (Path.Length > 0)
            File.Delete(Path);
        spool.Release(units);
    }
}
