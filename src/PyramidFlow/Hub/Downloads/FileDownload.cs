using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;

namespace PyramidFlow.Hub.Downloads;

/// <summary>Downloads one file: resumes an earlier attempt, checks size and hash, and renames the complete file.</summary>
/// <param name="client">Client of the hub.</param>
/// <param name="source">The repository.</param>
/// <param name="file">The file.</param>
/// <param name="target">Full target path; its folder exists.</param>
/// <param name="meter">Counts the bytes.</param>
internal sealed class FileDownload(HubClient client, HubSource source, HubFile file, string target, TransferMeter meter)
{
    private const long WorthCounting = 1 << 20;

    private readonly RetryLoop retries = new(client.Options);
    private bool wrongOnce;

    /// <summary>Downloads the file unless it is present.</summary>
    /// <exception cref="HubException">The file is refused, stays unreachable, or differs from the hub's list.</exception>
    internal async Task RunAsync(CancellationToken cancellationToken)
    {
        if (Directory.Exists(target))
            throw HubFault.FileIsFolder(target);
        if (File.Exists(target) && await ContentHash.MatchesAsync(target, file, cancellationToken).ConfigureAwait(false))
        {
            meter.Found(file.Size);
            return;
        }

        using var partial = await ResumableFile.OpenAsync(target, file, cancellationToken).ConfigureAwait(false);
        meter.Found(partial.Length);
        await retries.RunAsync(() => AttemptAsync(partial, cancellationToken), cancellationToken).ConfigureAwait(false);
    }

    private async Task<bool> AttemptAsync(ResumableFile partial, CancellationToken cancellationToken)
    {
        if (partial.Length < file.Size || file.Size == 0)
            await FetchAsync(partial, cancellationToken).ConfigureAwait(false);
        if (partial.TryFinish(target))
            return true;
        Restart(partial);
        if (wrongOnce)
            throw HubFault.WrongHash(client.Hub.Address.Host, file.Path, source.Repository);
        wrongOnce = true;
        throw new TransientException($"{file.Path} arrived damaged");
    }

    private async Task FetchAsync(ResumableFile partial, CancellationToken cancellationToken)
    {
        using var response = await client.OpenAsync(source, file, partial.Length, cancellationToken).ConfigureAwait(false);
        // Some servers ignore the range and send the whole file.
        if (partial.Length > 0 && (response.StatusCode != HttpStatusCode.PartialContent || response.Content.Headers.ContentRange?.From != partial.Length))
        {
            Restart(partial);
            if (response.StatusCode == HttpStatusCode.PartialContent)
                throw new TransientException($"{client.Hub.Address.Host} sent another part of {file.Path} than asked for");
        }

        var first = partial.Length;
        CheckLength(response.StatusCode == HttpStatusCode.PartialContent
            ? response.Content.Headers.ContentRange?.Length
            : response.Content.Headers.ContentLength);
        using var watch = new StallWatch(client.Options, response.RequestMessage?.RequestUri?.Host ?? client.Hub.Address.Host, cancellationToken);
        await watch.CopyAsync(response, async (bytes, stop) =>
        {
            CheckLength(Math.Max(file.Size, partial.Length + bytes.Length));
            await partial.AddAsync(bytes, stop).ConfigureAwait(false);
            meter.Fetched(bytes.Length);
            if (partial.Length - first >= WorthCounting)
                retries.Progressed();
        }).ConfigureAwait(false);
        if (partial.Length < file.Size)
            throw new TransientException($"the connection ended {file.Size - partial.Length} bytes before the end of {file.Path}");
    }

    private void CheckLength(long? length)
    {
        if (length is { } bytes && bytes != file.Size)
            throw HubFault.WrongLength(client.Hub.Address.Host, file.Path, bytes, file.Size);
    }

    private void Restart(ResumableFile partial)
    {
        meter.Found(-partial.Length);
        partial.Restart();
    }
}

/// <summary>
/// The incomplete file of a download. It lies beside the target under a hidden name with the beginning of the content's hash, so that
/// bytes of different versions are never mixed.
/// </summary>
internal sealed class ResumableFile : IDisposable
{
    private const string Extension = ".partial";
    private const int HashDigits = 16;

    private readonly FileStream stream;
    private readonly HubFile file;
    private ContentHash hash;

    private ResumableFile(FileStream stream, HubFile file) => (this.stream, this.file, hash) = (stream, file, new ContentHash(file));

    /// <summary>Bytes in the file.</summary>
    internal long Length => stream.Length;

    /// <summary>Path of the incomplete file.</summary>
    internal static string PathFor(string target, HubFile file)
    {
        var version = (file.Sha256 ?? file.BlobSha1)?[..HashDigits] ?? "unhashed";
        return Path.Combine(Path.GetDirectoryName(target)!, $".{Path.GetFileName(target)}.{version}{Extension}");
    }

    /// <summary>Bytes that an earlier run has downloaded.</summary>
    internal static long KeptBytes(string target, HubFile file)
    {
        var partial = new FileInfo(PathFor(target, file));
        return partial.Exists && partial.LinkTarget is null && partial.Length <= file.Size ? partial.Length : 0;
    }

    /// <summary>Opens or creates the incomplete file and hashes its content.</summary>
    /// <exception cref="HubException">Another process has it open.</exception>
    internal static async Task<ResumableFile> OpenAsync(string target, HubFile file, CancellationToken cancellationToken)
    {
        var path = PathFor(target, file);
        // Never write through a link.
        if (new FileInfo(path).LinkTarget is not null)
            File.Delete(path);
        ResumableFile partial;
        try
        {
            partial = new ResumableFile(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.Asynchronous), file);
        }
        catch (IOException e) when (File.Exists(path))
        {
            throw HubFault.InUse(path, e);
        }

        try
        {
            // Without a hash it is unknown whether the bytes belong to this version.
            if (partial.Length > file.Size || (file.Sha256 ?? file.BlobSha1) is null)
                partial.Restart();
            await partial.hash.AddAsync(partial.stream, cancellationToken).ConfigureAwait(false);
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

    /// <summary>Empties the file.</summary>
    internal void Restart()
    {
        stream.SetLength(0);
        hash.Dispose();
        hash = new ContentHash(file);
    }

    /// <summary>Appends bytes.</summary>
    internal async ValueTask AddAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        await stream.WriteAsync(bytes, cancellationToken).ConfigureAwait(false);
        hash.Add(bytes.Span);
    }

    /// <summary>Renames the file to its target if its hash is right; otherwise does nothing.</summary>
    /// <returns>Whether the file was renamed.</returns>
    internal bool TryFinish(string target)
    {
        if (!hash.IsRight())
            return false;
        stream.Flush(flushToDisk: true);
        File.Move(stream.Name, target, overwrite: true);
        return true;
    }
}

/// <summary>Incremental hash of a file, compared with the one that the hub lists.</summary>
internal sealed class ContentHash : IDisposable
{
    private const int PieceBytes = 1 << 20;

    private readonly IncrementalHash? hash;
    private readonly string? expected;

    /// <summary>Starts at the first byte of a file.</summary>
    internal ContentHash(HubFile file)
    {
        expected = file.Sha256 ?? file.BlobSha1;
        if (file.Sha256 is not null)
            hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        else if (file.BlobSha1 is not null)
        {
            // Git hashes a small header before the content.
            hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA1);
            hash.AppendData(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {file.Size}\0")));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => hash?.Dispose();

    /// <summary>Whether a file has the size and hash that the hub lists.</summary>
    internal static async Task<bool> MatchesAsync(string path, HubFile file, CancellationToken cancellationToken)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1, FileOptions.Asynchronous);
        if (stream.Length != file.Size)
            return false;
        using var hash = new ContentHash(file);
        await hash.AddAsync(stream, cancellationToken).ConfigureAwait(false);
        return hash.IsRight();
    }

    internal void Add(ReadOnlySpan<byte> bytes) => hash?.AppendData(bytes);

    /// <summary>Adds the rest of a stream.</summary>
    internal async Task AddAsync(Stream stream, CancellationToken cancellationToken)
    {
        var buffer = new byte[PieceBytes];
        while (await stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is var count and > 0)
            Add(buffer.AsSpan(0, count));
    }

    /// <summary>Whether the hash of all added bytes is right; true if the hub lists no hash.</summary>
    internal bool IsRight() => hash is null || Convert.ToHexStringLower(hash.GetHashAndReset()) == expected;
}
