namespace PyramidFlow.Hub.Downloads;

/// <summary>
/// What is there of a file, beside it under a hidden name that holds the beginning of its hash: bytes of another version
/// are never taken for this one's.
/// </summary>
internal sealed class ResumableFile : IDisposable
{
    private const string Extension = ".partial";
    private const int HashDigits = 16;

    private readonly FileStream stream;
    private readonly HubFile file;
    private ContentHash hash;

    private ResumableFile(FileStream stream, HubFile file) => (this.stream, this.file, hash) = (stream, file, new ContentHash(file));

    /// <summary>Bytes that are there.</summary>
    internal long Length => stream.Length;

    /// <summary>Where the rest of a file lies while it is fetched.</summary>
    internal static string PathOf(string target, HubFile file)
    {
        var version = (file.Sha256 ?? file.BlobSha1)?[..HashDigits] ?? "unhashed";
        return Path.Combine(Path.GetDirectoryName(target)!, $".{Path.GetFileName(target)}.{version}{Extension}");
    }

    /// <summary>Bytes kept of a file from an earlier run.</summary>
    internal static long KeptBytes(string target, HubFile file)
    {
        var partial = new FileInfo(PathOf(target, file));
        return partial.Exists && partial.LinkTarget is null && partial.Length <= file.Size ? partial.Length : 0;
    }

    /// <summary>Opens or makes it, and hashes what is there.</summary>
    /// <exception cref="HubException">Another process has it open.</exception>
    internal static async Task<ResumableFile> OpenAsync(string target, HubFile file, CancellationToken cancel)
    {
        var path = PathOf(target, file);
        // A link here would make us write to where it leads.
        if (new FileInfo(path).LinkTarget is not null)
            File.Delete(path);
        ResumableFile partial;
        try
        {
            partial = new ResumableFile(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.Asynchronous), file);
        }
        catch (IOException e) when (File.Exists(path))
        {
            throw new HubException($"{path} is in use: wait until the other download has ended", e);
        }

        try
        {
            // Without a hash nothing says that the bytes belong to this version.
            if (partial.Length > file.Size || (file.Sha256 ?? file.BlobSha1) is null)
                partial.Restart();
            await partial.hash.AddAsync(partial.stream, cancel).ConfigureAwait(false);
            return partial;
        }
        catch
        {
            partial.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        stream.Dispose();
        hash.Dispose();
    }

    /// <summary>Forgets what is there.</summary>
    internal void Restart()
    {
        stream.SetLength(0);
        hash.Dispose();
        hash = new ContentHash(file);
    }

    /// <summary>Adds what follows.</summary>
    internal async ValueTask AddAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        await stream.WriteAsync(bytes, cancel).ConfigureAwait(false);
        hash.Add(bytes.Span);
    }

    /// <summary>Gives the file its name if it holds what the hub lists; else nothing happens.</summary>
    /// <returns>Whether it did.</returns>
    internal bool TryFinish(string target)
    {
        if (!hash.IsRight())
            return false;
        stream.Flush(flushToDisk: true);
        File.Move(stream.Name, target, overwrite: true);
        return true;
    }
}
