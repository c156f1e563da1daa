using System.Text;

namespace PyramidFlow.Media;

/// <summary>
/// A file that gets its name only when it is complete: written beside the target under a hidden name
/// (".NAME.partial-XXXXXXXX.mp4"), then renamed, or deleted if it is not committed. Writing the same target again deletes what a
/// killed process has left behind.
/// </summary>
internal sealed class PartialFile : IDisposable
{
    // Leaves room in the 255 bytes of a file name.
    private const int MaxStemBytes = 180;
    private const int UniqueLength = 8;
    private static readonly EnumerationOptions EveryFile = new() { AttributesToSkip = FileAttributes.None };
    private bool committed;

    private PartialFile(string target, string path, FileStream stream)
    {
        Target = target;
        Path = path;
        Stream = stream;
    }

    /// <summary>Full path of the final file.</summary>
    public string Target { get; }

    /// <summary>Full path of the temporary file.</summary>
    public string Path { get; }

    /// <summary>
    /// The temporary file, empty and unbuffered. Its lock tells other processes that the writer is alive; ffmpeg can still write to
    /// it by path.
    /// </summary>
    public FileStream Stream { get; }

    /// <summary>Creates the empty temporary file, and the folder of the target.</summary>
    /// <exception cref="MediaException">The folder cannot be written.</exception>
    public static PartialFile Create(string target)
    {
        target = System.IO.Path.GetFullPath(target);
        if (Directory.Exists(target))
            throw MediaFault.TargetIsFolder(target);
        var folder = System.IO.Path.GetDirectoryName(target)!;
        var stem = Shortened(System.IO.Path.GetFileNameWithoutExtension(target));
        var (start, end) = ($".{stem}.partial-", System.IO.Path.GetExtension(target));
        var path = System.IO.Path.Combine(folder, $"{start}{Guid.NewGuid().ToString("N")[..UniqueLength]}{end}");
        try
        {
            Directory.CreateDirectory(folder);
            DeleteAbandoned(folder, start, end);
            return new PartialFile(target, path,
                new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, bufferSize: 0));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw MediaFault.IsDiskFull(e)
                ? MediaFault.NotWritten(target, e)
                : MediaFault.FolderUnwritable(folder, e);
        }
    }

    /// <summary>Renames the file to its target; replaces an existing file.</summary>
    /// <exception cref="MediaException">The rename failed.</exception>
    public void Commit()
    {
        try
        {
            File.Move(Path, Target, overwrite: true);
            committed = true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw MediaFault.NotWritten(Target, e);
        }
    }

    /// <summary>Deletes the temporary file if it was not committed.</summary>
    public void Dispose()
    {
        if (!committed)
            File.Delete(Path);
        Stream.Dispose();
    }

    private static void DeleteAbandoned(string folder, string start, string end)
    {
        foreach (var path in Directory.EnumerateFiles(folder, ".*", EveryFile))
        {
            var name = System.IO.Path.GetFileName(path);
            if (name.Length != start.Length + UniqueLength + end.Length
                || !name.StartsWith(start, StringComparison.Ordinal) || !name.EndsWith(end, StringComparison.Ordinal))
                continue;
            try
            {
                using var abandoned = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
                File.Delete(path);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Locked by a running writer, or not deletable by this user.
            }
        }
    }

    private static string Shortened(string stem)
    {
        var kept = new StringBuilder();
        var bytes = 0;
        foreach (var rune in stem.EnumerateRunes())
        {
            bytes += rune.Utf8SequenceLength;
            if (bytes > MaxStemBytes)
                break;
            kept.Append(rune);
        }

        return kept.ToString();
    }
}
