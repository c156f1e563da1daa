using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;

namespace PyramidFlow.Hub.Downloads;

/// <summary>Fetches one file: goes on where an earlier try stopped, checks size and hash, and names it when it is whole.</summary>
/// <param name="client">Whom to ask.</param>
/// <param name="source">The repository.</param>
/// <param name="file">The file.</param>
/// <param name="target">Full path to write to; its folder exists.</param>
/// <param name="meter">Told what has come.</param>
internal sealed class FileDownload(HubClient client, HubSource source, HubFile file, string target, TransferMeter meter)
{
    private const long WorthCounting = 1 << 20;

    private readonly RetryLoop retries = new(client.Options);
    private bool wrongOnce;

    /// <summary>Fetches it unless it is there.</summary>
    /// <exception cref="HubException">It is refused, stays out of reach, or is not what the hub lists.</exception>
    internal async Task RunAsync(CancellationToken cancel)
    {
        if (Directory.Exists(target))
            throw new HubException($"{target} is a folder where a file belongs: remove it, or choose another place");
        if (File.Exists(target) && await ContentHash.MatchesAsync(target, file, cancel).ConfigureAwait(false))
        {
            meter.Found(file.Size);
            return;
        }

        using var partial = await ResumableFile.OpenAsync(target, file, cancel).ConfigureAwait(false);
        meter.Found(partial.Length);
        await retries.RunAsync(() => AttemptAsync(partial, cancel), cancel).ConfigureAwait(false);
    }

    private async Task<bool> AttemptAsync(ResumableFile partial, CancellationToken cancel)
    {
        if (partial.Length < file.Size || file.Size == 0)
            await FetchAsync(partial, cancel).ConfigureAwait(false);
        if (partial.TryFinish(target))
            return true;
        Restart(partial);
        if (wrongOnce)
        {
            throw new HubException($"{file.Path} of {source.Repository} does not have the hash that {client.Hub.Address.Host} lists, twice in a row: "
                + "try again later, or set HF_ENDPOINT to another mirror");
        }

        wrongOnce = true;
        throw new TransientException($"{file.Path} arrived damaged");
    }

    private async Task FetchAsync(ResumableFile partial, CancellationToken cancel)
    {
        using var response = await client.OpenAsync(source, file, partial.Length, cancel).ConfigureAwait(false);
        // Some servers send the whole file whatever was asked for.
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
        using var watch = new StallWatch(client.Options, response.RequestMessage?.RequestUri?.Host ?? client.Hub.Address.Host, cancel);
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
        {
            throw new HubException(string.Create(CultureInfo.InvariantCulture,
                $"{client.Hub.Address.Host} sends {bytes} bytes of {file.Path} where it lists {file.Size}: try again later, or set HF_ENDPOINT to another mirror"));
        }
    }

    private void Restart(ResumableFile partial)
    {
        meter.Found(-partial.Length);
        partial.Restart();
    }
}

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

/// <summary>The hash a hub names for a file, taken while its bytes pass by.</summary>
internal sealed class ContentHash : IDisposable
{
    private const int PieceBytes = 1 << 20;

    private readonly IncrementalHash? hash;
    private readonly string? expected;

    /// <summary>Begins at the file's first byte.</summary>
    internal ContentHash(HubFile file)
    {
        expected = file.Sha256 ?? file.BlobSha1;
        if (file.Sha256 is not null)
            hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        else if (file.BlobSha1 is not null)
        {
            // Git hashes a small header together with the content.
            hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA1);
            hash.AppendData(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {file.Size}\0")));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => hash?.Dispose();

    /// <summary>Whether a file holds what the hub lists, by size and hash.</summary>
    internal static async Task<bool> MatchesAsync(string path, HubFile file, CancellationToken cancel)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1, FileOptions.Asynchronous);
        if (stream.Length != file.Size)
            return false;
        using var hash = new ContentHash(file);
        await hash.AddAsync(stream, cancel).ConfigureAwait(false);
        return hash.IsRight();
    }

    internal void Add(ReadOnlySpan<byte> bytes) => hash?.AppendData(bytes);

    /// <summary>Takes the rest of a stream.</summary>
    internal async Task AddAsync(Stream stream, CancellationToken cancel)
    {
        var buffer = new byte[PieceBytes];
        while (await stream.ReadAsync(buffer, cancel).ConfigureAwait(false) is var count and > 0)
            Add(buffer.AsSpan(0, count));
    }

    /// <summary>Whether everything added is what was expected; true when the hub named no hash.</summary>
    internal bool IsRight() => hash is null || Convert.ToHexStringLower(hash.GetHashAndReset()) == expected;
}
