using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace PyramidFlow.Hub.Downloads;

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
