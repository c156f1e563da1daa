using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Hub.Downloads;

/// <summary>A file of a repository, as the hub lists it.</summary>
/// <param name="Path">Path in the repository, with slashes; checked not to lead outside the target folder.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Sha256">SHA-256 of the content in lower-case hexadecimal; null for small files.</param>
/// <param name="BlobSha1">Git's hash of the content; null for large files.</param>
internal sealed record HubFile(string Path, long Size, string? Sha256, string? BlobSha1)
{
    /// <summary>Folder of the file; empty at the root.</summary>
    public string Folder => Path.LastIndexOf('/') is var at and >= 0 ? Path[..at] : "";

    /// <summary>Name without the folder.</summary>
    public string Name => Path[(Path.LastIndexOf('/') + 1)..];
}

/// <summary>Parses a hub's list of files; refuses unsafe paths and absurd sizes.</summary>
internal static class HubListing
{
    private const long MaxBytes = 1L << 41;
    private const int MaxNameLength = 200, MaxPathLength = 1000;

    /// <summary>The files of one page, without folders.</summary>
    /// <param name="utf8Json">Response of <c>/api/models/OWNER/NAME/tree/REVISION</c>.</param>
    /// <param name="repository">Name of the repository in error messages.</param>
    /// <exception cref="HubException">The list is malformed, or a file has an unsafe path or an absurd size.</exception>
    public static IReadOnlyList<HubFile> Parse(ReadOnlyMemory<byte> utf8Json, string repository)
    {
        try
        {
            using var json = StrictJson.Parse(utf8Json, new StrictJsonOptions(RepeatedKeys: true));
            return [.. json.RootElement.EnumerateArray()
                .Where(entry => entry.GetProperty("type").GetString() == "file")
                .Select(entry => File(entry, repository))];
        }
        catch (MalformedTextException e)
        {
            throw HubFault.DamagedList(repository, e.Message, e);
        }
        catch (Exception e) when (e is InvalidOperationException or KeyNotFoundException or FormatException)
        {
            throw HubFault.DamagedList(repository, "it is not a list of files with type, path and size", e);
        }
    }

    private static HubFile File(JsonElement entry, string repository)
    {
        var path = entry.GetProperty("path").GetString() ?? "";
        if (!IsSafe(path))
            throw HubFault.UnsafePath(repository, Shown(path));
        var size = entry.GetProperty("size").GetInt64();
        if (size is < 0 or > MaxBytes)
            throw HubFault.AbsurdSize(repository, path, size);
        var hash = entry.TryGetProperty("lfs", out var large) && large.ValueKind == JsonValueKind.Object ? Hex(large, "oid", 64) : null;
        return new HubFile(path, size, hash, hash is null ? Hex(entry, "oid", 40) : null);
    }

    private static bool IsSafe(string path) =>
        path.Length is > 0 and <= MaxPathLength
        && path.Split('/').All(part => part.Length is > 0 and <= MaxNameLength && part is not ("." or "..")
            && !part.Any(c => char.IsControl(c) || c is '\\' or ':' || char.GetUnicodeCategory(c) == System.Globalization.UnicodeCategory.Format));

    private static string Shown(string path) =>
        string.Concat(path.Take(120).Select(c => c is < ' ' or > '~' ? $"\\u{(int)c:x4}" : c.ToString()));

    private static string? Hex(JsonElement entry, string name, int digits) =>
        entry.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String && value.GetString() is { } text
            && text.Length == digits && text.All(char.IsAsciiHexDigit)
            ? text.ToLowerInvariant()
            : null;
}
