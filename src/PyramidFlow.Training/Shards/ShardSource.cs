using System.Globalization;

namespace PyramidFlow.Training.Shards;

/// <summary>What tells one version of a shard from another.</summary>
/// <param name="Size">Size in bytes.</param>
/// <param name="Tag">Entity tag of HTTP, or null.</param>
/// <param name="Modified">Time of the last change; null where a server tells none.</param>
internal sealed record ShardVersion(long Size, string? Tag, string? Modified)
{
    /// <summary>Whether it is the same version; a tag says more than a time.</summary>
    public bool IsSame(ShardVersion other) => Size == other.Size && Tag == other.Tag && (Tag is not null || Modified == other.Modified);

    /// <summary>The version in a sentence.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Size} bytes{((Tag ?? Modified) is { } mark ? $", {mark}" : "")}");
}

/// <summary>Reads parts of a shard, always of the same version.</summary>
/// <param name="name">Name of the shard for errors.</param>
internal abstract class ShardSource(string name) : ITarBytes
{
    private readonly Lock gate = new();
    private ShardVersion? version;

    /// <summary>Name of the shard.</summary>
    public string Name => name;

    /// <summary>Whether a part has been read.</summary>
    protected bool IsKnown => version is not null;

    /// <summary>Opens a shard; reads nothing.</summary>
    public static ShardSource Create(ShardAddress address, ShardOptions options) =>
        address.Remote is null ? new FileShard(address.Name) : new HttpShard(address, options);

    /// <summary>The version that is read; asks for it the first time.</summary>
    /// <exception cref="TrainingException">The shard is missing, refused or unreachable.</exception>
    public async Task<ShardVersion> FindVersionAsync(CancellationToken cancellationToken)
    {
        if (version is null)
            await CopyAsync(0, TarHeader.BlockBytes, Stream.Null, cancellationToken).ConfigureAwait(false);
        return version!;
    }

    /// <summary>Copies a part of the shard; less than asked for only at its end.</summary>
    /// <returns>Number of bytes copied.</returns>
    /// <exception cref="TrainingException">The shard is missing, refused, unreachable, or another version than before.</exception>
    /// <exception cref="IOException">The target cannot be written.</exception>
    public abstract Task<long> CopyAsync(long offset, long length, Stream target, CancellationToken cancellationToken);

    /// <inheritdoc/>
    public async ValueTask<byte[]> ReadAsync(long offset, int count, CancellationToken cancellationToken)
    {
        using var bytes = new MemoryStream(count);
        await CopyAsync(offset, count, bytes, cancellationToken).ConfigureAwait(false);
        return bytes.Length == bytes.Capacity ? bytes.GetBuffer() : bytes.ToArray();
    }

    /// <summary>Compares what an answer tells with the version that is read.</summary>
    /// <exception cref="TrainingException">It is another version.</exception>
    protected void Check(ShardVersion found)
    {
        lock (gate)
            version ??= found;
        if (!version.IsSame(found))
            throw TrainingFault.ShardChanged(name, version.ToString(), found.ToString());
    }
}

/// <summary>A shard on a disk.</summary>
/// <param name="path">Full path.</param>
internal sealed class FileShard(string path) : ShardSource(path)
{
    private const int PieceBytes = 128 << 10;

    /// <inheritdoc/>
    public override async Task<long> CopyAsync(long offset, long length, Stream target, CancellationToken cancellationToken)
    {
        FileStream file;
        try
        {
            file = new FileStream(Name, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 0, FileOptions.Asynchronous);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw TrainingFault.ShardMissing(Name, null, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw TrainingFault.ShardUnreadable(Name, e.Message, e);
        }

        await using (file.ConfigureAwait(false))
        {
            CheckVersion(file);
            var (buffer, copied) = (new byte[(int)Math.Min(PieceBytes, length)], 0L);
            while (copied < length && await PieceAsync(file, buffer.AsMemory(0, (int)Math.Min(buffer.Length, length - copied)), offset + copied, cancellationToken).ConfigureAwait(false) is var count and > 0)
            {
                await target.WriteAsync(buffer.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
                copied += count;
            }

            // A file that is written meanwhile has been read in two versions.
            CheckVersion(file);
            return copied;
        }
    }

    private void CheckVersion(FileStream file) =>
        Check(new ShardVersion(file.Length, null, File.GetLastWriteTimeUtc(file.SafeFileHandle).ToString("O", CultureInfo.InvariantCulture)));

    private async ValueTask<int> PieceAsync(FileStream file, Memory<byte> piece, long offset, CancellationToken cancellationToken)
    {
        try
        {
            return await RandomAccess.ReadAsync(file.SafeFileHandle, piece, offset, cancellationToken).ConfigureAwait(false);
        }
        catch (IOException e)
        {
            throw TrainingFault.ShardUnreadable(Name, e.Message, e);
        }
    }
}
