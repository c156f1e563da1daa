using PyramidFlow.Media;
using PyramidFlow.Torch;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>The files of an item that are members of a shard.</summary>
internal sealed class PackedItem
{
    private readonly Dictionary<string, TarMember> members;

    /// <summary>Creates the item.</summary>
    /// <param name="shard">The shard.</param>
    /// <param name="members">Its members.</param>
    public PackedItem(Shard shard, IEnumerable<TarMember> members) =>
        (Shard, this.members) = (shard, members.ToDictionary(member => PathOf(shard, member), StringComparer.Ordinal));

    /// <summary>The shard.</summary>
    public Shard Shard { get; }

    /// <summary>The member of a path; null where the shard has none.</summary>
    public TarMember? Find(string path) => members.GetValueOrDefault(path);

    /// <summary>Path of a member, for annotations and for people.</summary>
    public static string PathOf(Shard shard, TarMember member) => $"{shard.Name}/{member.Name}";
}

/// <summary>Reads the files of items, which are on the disk or in shards. A decoder gets a member as a file of its own, so that it needs no right to read anything else.</summary>
internal static class ItemFile
{
    /// <summary>Whether there is such a file.</summary>
    public static bool Exists(Annotation annotation, string path) => annotation.Packed is { } packed ? packed.Find(path) is not null : File.Exists(path);

    /// <summary>Size of a file that exists.</summary>
    public static long Length(Annotation annotation, string path) => annotation.Packed?.Find(path)?.Size ?? new FileInfo(path).Length;

    /// <summary>Files of an item on the disk as they are now, without those that cannot be opened; empty for members of a shard, which knows by itself when it has changed.</summary>
    /// <param name="annotation">The item.</param>
    /// <param name="paths">Those of its paths that are read; null is none.</param>
    public static IReadOnlyList<FileVersion> Versions(Annotation annotation, IEnumerable<string?> paths) =>
        annotation.Packed is not null ? [] : [.. paths.Select(path => path is null ? null : VersionOf(path)).OfType<FileVersion>()];

    /// <summary>Throws where a file of an item is another than the one that was scanned; to be called after the file was read.</summary>
    /// <param name="item">The item.</param>
    /// <exception cref="BadItemException">A file has changed.</exception>
    public static void RequireUnchanged(DataItem item)
    {
        foreach (var version in item.Versions)
        {
            if (VersionOf(version.Path) is { } now && now != version)
                throw new BadItemException(DataFaultKind.Changed, TrainingFault.FileChanged(version.Path));
        }
    }

    /// <summary>Reads a file.</summary>
    /// <param name="annotation">The item.</param>
    /// <param name="path">Its path in the annotation.</param>
    /// <param name="read">Reads the file at a path; not to be kept.</param>
    /// <param name="cancellationToken">Cancels the transfer of a member.</param>
    /// <exception cref="BadItemException">The file is missing or cannot be read.</exception>
    /// <exception cref="TrainingException">The shard of the item is unreachable or has changed.</exception>
    public static async Task<T> ReadAsync<T>(Annotation annotation, string path, Func<string, Task<T>> read, CancellationToken cancellationToken)
    {
        if (annotation.Packed is not { } packed)
            return await read(path).ConfigureAwait(false);
        var member = packed.Find(path) ?? throw MediaFaults.Missing(path);
        using var file = await packed.Shard.SpoolAsync(member, cancellationToken).ConfigureAwait(false)
            ?? throw new BadItemException(DataFaultKind.Damaged, TrainingFault.MemberTooLarge(path, member.Size, packed.Shard.MostBytes));
        try
        {
            return await read(file.Path).ConfigureAwait(false);
        }
        catch (BadItemException e)
        {
            throw e.With(Renamed(e.Error, file.Path, path));
        }
    }

    /// <summary>Reads what the header of a file tells; that of a member is read once and kept with the index of the shard.</summary>
    /// <inheritdoc cref="ReadAsync"/>
    public static async Task<MemberHeader> ReadHeaderAsync(Annotation annotation, string path, Func<string, Task<MemberHeader>> read, CancellationToken cancellationToken)
    {
        if (annotation.Packed?.Find(path) is not { } member)
            return await ReadAsync(annotation, path, read, cancellationToken).ConfigureAwait(false);
        if (member.Header is { } known)
            return known;
        var header = await ReadAsync(annotation, path, read, cancellationToken).ConfigureAwait(false);
        annotation.Packed.Shard.Keep(member, header);
        return header;
    }

    // An open file is the one that is read, also where the path is a link.
    private static FileVersion? VersionOf(string path)
    {
        try
        {
            using var file = File.OpenHandle(path);
            return new FileVersion(path, RandomAccess.GetLength(file), File.GetLastWriteTimeUtc(file));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }

    // A temporary name means nothing to anyone.
    private static PyramidFlowException Renamed(PyramidFlowException e, string from, string to)
    {
        var message = e.Message.Replace(from, to, StringComparison.Ordinal);
        (string, object?)[] parameters = [.. e.Parameters.Select(pair => (pair.Key, pair.Value is string text ? text.Replace(from, to, StringComparison.Ordinal) : pair.Value))];
        return e switch
        {
            TrainingException => new TrainingException(e.Code, message, e.InnerException, parameters),
            MediaException => new MediaException(e.Code, message, e.InnerException, parameters),
            CheckpointException => new CheckpointException(e.Code, message, e.InnerException, parameters),
            _ => e,
        };
    }
}
