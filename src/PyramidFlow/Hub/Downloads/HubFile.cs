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
