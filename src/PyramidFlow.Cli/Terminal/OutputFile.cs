namespace PyramidFlow.Cli.Terminal;

/// <summary>Checks the files of a command before any work starts.</summary>
internal static class OutputFile
{
    /// <summary>Kinds of file.</summary>
    public const string Video = ".mp4", Animation = ".gif", Picture = ".png", Latents = ".safetensors";

    /// <summary>The name of standard output.</summary>
    public const string Standard = "-";

    /// <summary>All kinds of picture and video, the usual one first.</summary>
    public static readonly string[] Extensions = [Video, Animation, Picture];

    /// <summary>The default name of a file, without its extension.</summary>
    public const string Stem = "out";

    /// <summary>Whether a file is a picture and not a video.</summary>
    public static bool IsPicture(string path) => Path.GetExtension(path).Equals(Picture, StringComparison.OrdinalIgnoreCase);

    /// <summary>Fails unless the file can be written.</summary>
    /// <param name="path">The file.</param>
    /// <param name="extensions">Allowed extensions, with the dot, lower case.</param>
    /// <exception cref="UsageException">Unknown extension, or a folder that is missing or cannot be written.</exception>
    public static void Check(string path, params string[] extensions)
    {
        if (path.Length == 0)
            throw new UsageException($"the output file has no name: give one that ends in {Or(extensions)}");
        if (Directory.Exists(path))
            throw new UsageException($"{path} is a folder: name a file in it, such as {Path.Combine(path, Stem + extensions[0])}");
        if (Path.EndsInDirectorySeparator(path))
            throw new UsageException($"the folder {path} does not exist: make it with 'mkdir -p {path}', or name a file");
        var extension = Path.GetExtension(path).ToLowerInvariant();
        if (!extensions.Contains(extension))
        {
            throw new UsageException($"cannot write {Path.GetFileName(path)}: "
                + $"{(extension.Length == 0 ? "it has no extension" : $"{extension} is not a kind of file this makes")}, name it {Or(extensions)}");
        }

        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(folder))
            throw new UsageException($"the folder {folder} does not exist: make it with 'mkdir -p {folder}', or choose another");
        CheckWritable(folder);
    }

    /// <summary>Fails when a file to read is not there.</summary>
    /// <param name="path">The file; null is none.</param>
    /// <param name="use">What it is for, for the message.</param>
    /// <exception cref="UsageException">It is not there, or a folder.</exception>
    public static void CheckInput(string? path, string use)
    {
        if (path is not null && !File.Exists(path))
            throw new UsageException($"{(path.Length == 0 ? "a file without a name" : path)} {(Directory.Exists(path) ? "is a folder" : "does not exist")}: {use}");
    }

    /// <summary>Makes a folder for files, unless it is there.</summary>
    /// <exception cref="UsageException">It cannot be made, or not written to.</exception>
    public static void MakeFolder(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"the folder {folder} cannot be made: choose another with -o ({e.Message})", e);
        }

        CheckWritable(folder);
    }

    private static void CheckWritable(string folder)
    {
        var probe = Path.Combine(folder, $".pyramidflow-{Guid.NewGuid():N}");
        try
        {
            new FileStream(probe, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1, FileOptions.DeleteOnClose).Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"the folder {folder} cannot be written to: choose another with -o, or change its permissions", e);
        }
    }

    private static string Or(string[] extensions) => extensions.Length == 1
        ? extensions[0]
        : $"{string.Join(", ", extensions[..^1])} or {extensions[^1]}";
}
