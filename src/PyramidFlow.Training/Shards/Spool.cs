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
    private string? folder;

    // Locked as long as this process runs.
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
            // A system may clean its folder of temporary files while a long run goes on.
            if (folder is null || !Directory.Exists(folder))
            {
                DeleteAbandoned();
                var made = Directory.CreateDirectory(Path.Combine(parent, Start + Guid.NewGuid().ToString("N")[..12]));
                // Only this user may read it.
                if (!OperatingSystem.IsWindows())
                    made.UnixFileMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
                held = new FileStream(Path.Combine(made.FullName, LockName), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
                folder = made.FullName;
                AppDomain.CurrentDomain.ProcessExit += (_, _) => Delete(made.FullName);
            }

            return folder;
        }
    }

    private void DeleteAbandoned()
    {
        // A new folder may not be locked yet.
        var old = DateTime.UtcNow - TimeSpan.FromMinutes(1);
        foreach (var other in new DirectoryInfo(parent).EnumerateDirectories(Start + "*").Where(other => other.LinkTarget is null && other.LastWriteTimeUtc < old))
        {
            try
            {
                // A process that runs holds the lock of its folder.
                using var unused = new FileStream(Path.Combine(other.FullName, LockName), FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                other.Delete(recursive: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // In use, or of another user.
            }
        }
    }

    private void Delete(string path)
    {
        try
        {
            held?.Dispose();
            Directory.Delete(path, recursive: true);
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
        try
        {
            if (Path.Length > 0)
                File.Delete(Path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It has gone with its folder.
        }
        finally
        {
            spool.Release(units);
        }
    }
}
