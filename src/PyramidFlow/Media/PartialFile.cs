using System.Text;

namespace PyramidFlow.Media;

/// <summary>
/// A file that appears under its name only when it is whole: written beside the target under a hidden name, then renamed;
/// deleted when not committed.
/// </summary>
internal sealed class PartialFile : IDisposable
{
    // Leaves room in the 255 bytes a file name may have.
    private const int MaxStemBytes = 180;
    private bool committed;

    private PartialFile(string target, string path)
    {
        Target = target;
        Path = path;
    }

    /// <summary>Full path of the file to be.</summary>
    public string Target { get; }

    /// <summary>Full path of the file to write.</summary>
    public string Path { get; }

    /// <summary>Makes an empty file to write into, and the target's folder if need be.</summary>
    /// <exception cref="MediaException">The folder cannot be written.</exception>
    public static PartialFile Create(string target)
    {
        target = System.IO.Path.GetFullPath(target);
        if (Directory.Exists(target))
            throw new MediaException($"{target} is a folder: name a file in it, such as {System.IO.Path.Combine(target, "video.mp4")}");
        var folder = System.IO.Path.GetDirectoryName(target)!;
        var stem = Shortened(System.IO.Path.GetFileNameWithoutExtension(target));
        var path = System.IO.Path.Combine(folder,
            $".{stem}.partial-{Guid.NewGuid().ToString("N")[..8]}{System.IO.Path.GetExtension(target)}");
        try
        {
            Directory.CreateDirectory(folder);
            new FileStream(path, FileMode.CreateNew).Dispose();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new MediaException($"cannot write to the folder {folder}: {e.Message}", e);
        }

        return new PartialFile(target, path);
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

    public void Dispose()
    {
        if (!committed)
            File.Delete(Path);
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
