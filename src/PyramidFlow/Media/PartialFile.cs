using System.Text;

namespace PyramidFlow.Media;

/// <summary>
/// A file that appears under its name only when it is whole: written beside the target under a hidden name
/// (".NAME.partial-XXXXXXXX.mp4"), then renamed; deleted when not committed. What a killed process left behind is deleted
/// when the same target is written again.
/// </summary>
public sealed class PartialFile : IDisposable
{
    // Leaves room in the 255 bytes a file name may have.
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

    /// <summary>Full path of the file to be.</summary>
    public string Target { get; }

    /// <summary>Full path of the file to write.</summary>
    public string Path { get; }

    /// <summary>
    /// The file, empty, open without a buffer. While it is open it is locked, which tells other processes that its writer lives;
    /// ffmpeg writes to it by its path all the same.
    /// </summary>
    public FileStream Stream { get; }

    /// <summary>Makes an empty file to write into, and the target's folder if need be.</summary>
    /// <exception cref="MediaException">The folder cannot be written.</exception>
    public static PartialFile Create(string target)
    {
        target = System.IO.Path.GetFullPath(target);
        if (Directory.Exists(target))
            throw new MediaException($"{target} is a folder: name a file in it, such as {System.IO.Path.Combine(target, "video.mp4")}");
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
            throw WriteFailure.IsDiskFull(e)
                ? WriteFailure.Of(target, e)
                : new MediaException($"cannot write to the folder {folder}: {e.Message}", e);
        }
    }

    /// <summary>Gives the file its name; an older file of that name is replaced.</summary>
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
            throw new MediaException($"cannot write {Target}: {e.Message}", e);
        }
    }

    /// <summary>Deletes what was not committed.</summary>
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
                // Its writer lives and holds the lock, or it is not ours to delete.
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
