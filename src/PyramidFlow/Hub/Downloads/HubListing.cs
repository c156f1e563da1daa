using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Hub.Downloads;

/// <summary>A file of a repository, as the hub lists it.</summary>
/// <param name="Path">Path in the repository, with slashes; checked to lead nowhere else.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Sha256">Hash of the content in small hexadecimal digits, known of large files; else null.</param>
/// <param name="BlobSha1">Git's hash of the content, known of small files; else null.</param>
public sealed record HubFile(string Path, long Size, string? Sha256, string? BlobSha1)
{
    /// <summary>The folder it is in, or nothing at the root.</summary>
    public string Folder => Path.LastIndexOf('/') is var at and >= 0 ? Path[..at] : "";

    /// <summary>Its name without the folder.</summary>
    public string Name => Path[(Path.LastIndexOf('/') + 1)..];
}

/// <summary>Reads a hub's list of files and refuses what no honest repository has in it.</summary>
internal static class HubListing
{
    private const long MostBytes = 1L << 41;
    private const int LongestName = 200, LongestPath = 1000;

    /// <summary>The files of one page; folders are left out.</summary>
    /// <param name="utf8Json">What <c>/api/models/OWNER/NAME/tree/REVISION</c> answered.</param>
    /// <param name="repository">What to call it in an error.</param>
    /// <exception cref="HubException">It is not such a list, or it names a file that leads out of the folder or has an absurd size.</exception>
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
            throw new HubException($"the list of files of {repository} is damaged: {e.Message}; try again, or look at HF_ENDPOINT", e);
        }
        catch (Exception e) when (e is InvalidOperationException or KeyNotFoundException or FormatException)
        {
            throw new HubException($"the list of files of {repository} is damaged: it is not a list of files with type, path and size; try again, or look at HF_ENDPOINT", e);
        }
    }

    private static HubFile File(JsonElement entry, string repository)
    {
        var path = entry.GetProperty("path").GetString() ?? "";
        if (!IsSafe(path))
            throw new HubException($"{repository} lists a file called \"{Shown(path)}\", which could be written outside the folder: do not use this repository");
        var size = entry.GetProperty("size").GetInt64();
        if (size is < 0 or > MostBytes)
            throw new HubException($"{repository} lists {path} with {size} bytes, which no weights have: do not use this repository");
        var hash = entry.TryGetProperty("lfs", out var large) && large.ValueKind == JsonValueKind.Object ? Hex(large, "oid", 64) : null;
        return new HubFile(path, size, hash, hash is null ? Hex(entry, "oid", 40) : null);
    }

    private static bool IsSafe(string path) =>
        path.Length is > 0 and <= LongestPath
        && path.Split('/').All(part => part.Length is > 0 and <= LongestName && part is not ("." or "..")
            && !part.Any(c => char.IsControl(c) || c is '\\' or ':' || char.GetUnicodeCategory(c) == System.Globalization.UnicodeCategory.Format));

    private static string Shown(string path) =>
        string.Concat(path.Take(120).Select(c => c is < ' ' or > '~' ? $"\\u{(int)c:x4}" : c.ToString()));

    private static string? Hex(JsonElement entry, string name, int digits) =>
        entry.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String && value.GetString() is { } text
            && text.Length == digits && text.All(char.IsAsciiHexDigit)
            ? text.ToLowerInvariant()
            : null;
}
