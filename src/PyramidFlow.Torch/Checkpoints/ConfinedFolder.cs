namespace PyramidFlow.Torch.Checkpoints;

/// <summary>
/// A folder that names read from files cannot lead out of, not even by a link. One exception: the Hugging Face cache
/// keeps <c>snapshots/REVISION/...</c> as links into the <c>blobs</c> folder beside <c>snapshots</c>.
/// </summary>
internal sealed class ConfinedFolder
{
    private const int MaxLinks = 40;

    private readonly string root;
    private readonly string? blobs;

    internal ConfinedFolder(string path)
    {
        Path = path;
        root = Real(System.IO.Path.GetFullPath(path), MaxLinks);
        var parts = root.Split(System.IO.Path.DirectorySeparatorChar);
        var snapshots = Array.LastIndexOf(parts, "snapshots");
        if (snapshots > 0)
            blobs = string.Join(System.IO.Path.DirectorySeparatorChar, parts[..snapshots]) + System.IO.Path.DirectorySeparatorChar + "blobs";
    }

    internal string Path { get; }

    /// <summary>Whether a name is that of a file of a folder and nothing more.</summary>
    internal static bool IsPlainName(string? name) =>
        !string.IsNullOrEmpty(name) && name is not ("." or "..") && name.IndexOfAny(['/', '\\', ':', '\0']) < 0;

    /// <summary>The path of a file that is there, or null.</summary>
    /// <exception cref="CheckpointException">It is a link that leads out of the folder.</exception>
    internal string? Find(string name)
    {
        var path = System.IO.Path.Combine(Path, name);
        if (!File.Exists(path))
            return null;
        var real = Real(System.IO.Path.Combine(root, name), MaxLinks);
        return IsInside(real, root) || (blobs is not null && IsInside(real, blobs)) ? path : throw new CheckpointException(
            $"{path} is a link to {real}, outside its folder: put the file itself there");
    }

    private static bool IsInside(string path, string folder) =>
        path.StartsWith(folder.TrimEnd(System.IO.Path.DirectorySeparatorChar) + System.IO.Path.DirectorySeparatorChar, StringComparison.Ordinal);

    // The path with every link on the way followed.
    private static string Real(string path, int linksLeft)
    {
        if (System.IO.Path.GetDirectoryName(path) is not { } parent)
            return path;
        var here = System.IO.Path.Combine(Real(parent, linksLeft), System.IO.Path.GetFileName(path));
        if (new FileInfo(here).LinkTarget is not { } target)
            return here;
        if (linksLeft == 0)
            throw new CheckpointException($"{path} is a link that leads round in a circle");
        return Real(System.IO.Path.GetFullPath(target, System.IO.Path.GetDirectoryName(here)!), linksLeft - 1);
    }
}
