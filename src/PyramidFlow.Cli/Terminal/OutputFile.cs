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
            throw CommandFault.OutputUnnamed(Or(extensions));
        if (Directory.Exists(path))
            throw CommandFault.OutputIsFolder(path, Path.Combine(path, Stem + extensions[0]));
        if (Path.EndsInDirectorySeparator(path))
            throw CommandFault.OutputFolderMissing(path);
        var extension = Path.GetExtension(path).ToLowerInvariant();
        if (!extensions.Contains(extension))
            throw CommandFault.OutputKind(Path.GetFileName(path), extension, Or(extensions));

        var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(folder))
            throw CommandFault.FolderMissing(folder);
        CheckWritable(folder);
    }

    /// <summary>Fails when a file to read is not there.</summary>
    /// <param name="path">The file; null is none.</param>
    /// <param name="use">What it is for, for the message.</param>
    /// <param name="orFolder">Whether a folder may take its place.</param>
    /// <exception cref="UsageException">It is not there, or a folder.</exception>
    public static void CheckInput(string? path, string use, bool orFolder = false)
    {
        if (path is not null && !File.Exists(path) && !(orFolder && Directory.Exists(path)))
            throw CommandFault.InputMissing(path, use);
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
            throw CommandFault.FolderCannotBeMade(folder, e);
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
            throw CommandFault.FolderNotWritable(folder, e);
        }
    }

    private static string Or(string[] extensions) => extensions.Length == 1
        ? extensions[0]
        : $"{string.Join(", ", extensions[..^1])} or {extensions[^1]}";
}
