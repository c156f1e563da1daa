using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>
/// The files of videos: one folder for each video. Names of the files of an attempt contain its number, so that a
/// worker that lost its lease cannot overwrite the files of its successor. No name comes from a user.
/// </summary>
/// <param name="root">The data folder.</param>
internal sealed class VideoFolder(string root)
{
    private const string UnitsName = "units.safetensors";

    /// <summary>The data folder.</summary>
    public string Root { get; } = Path.GetFullPath(root);

    /// <summary>Folder of all videos.</summary>
    public string Videos { get; } = Path.Combine(Path.GetFullPath(root), "videos");

    /// <summary>Folder of uploads while they are read.</summary>
    public string Incoming { get; } = Path.Combine(Path.GetFullPath(root), "incoming");

    /// <summary>Path of the queue database if it is a file.</summary>
    public string Database { get; } = Path.Combine(Path.GetFullPath(root), "jobs.db");

    /// <summary>Download name of the picture or video that a video starts from.</summary>
    public static string InputName(string id, string extension) => $"{id}-input{extension}";

    /// <summary>Creates the folders.</summary>
    public void Create()
    {
        foreach (var path in new[] { Root, Videos, Incoming })
            CreatePrivate(path);
    }

    /// <summary>Creates a folder that only this user may read; one that exists keeps its mode.</summary>
    public static void CreatePrivate(string path)
    {
        if (OperatingSystem.IsWindows())
            Directory.CreateDirectory(path);
        else
            Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    /// <summary>Returns the folder of a video.</summary>
    public string For(string id) => VideoId.IsValid(id) ? Path.Combine(Videos, id) : throw new ArgumentException("this is no id of a video", nameof(id));

    public string Video(string id, int attempt) => Made(id, attempt, "mp4");

    public string Live(string id, int attempt) => Made(id, attempt, "live.mp4");

    public string Thumbnail(string id, int attempt) => Made(id, attempt, "thumbnail.png");

    public string Spritesheet(string id, int attempt) => Made(id, attempt, "spritesheet.png");

    public string LastFrame(string id, int attempt) => Made(id, attempt, "last.png");

    public string Preview(string id, int attempt) => Made(id, attempt, "preview.png");

    public string InputPicture(string id) => Path.Combine(For(id), "input.png");

    public string InputVideo(string id) => Path.Combine(For(id), "input.mp4");

    /// <summary>
    /// Finished units of a video, from which its next attempt goes on. All attempts write this file: its identity and its digest guarantee that any copy of it can be used.
    /// </summary>
    public string Units(string id) => Path.Combine(For(id), UnitsName);

    /// <summary>Whether a name is that of <see cref="Units"/>.</summary>
    public static bool IsUnits(string name) => name == UnitsName;

    /// <summary>Removes the finished units of a video; harmless where there are none.</summary>
    public void DeleteUnits(string id)
    {
        if (Directory.Exists(For(id)))
            System.IO.File.Delete(Units(id));
    }

    /// <summary>Removes the finished units of a video that nobody makes any more; the worker that makes it removes those that it writes after this.</summary>
    public void TryDeleteUnits(string id)
    {
        try
        {
            DeleteUnits(id);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The cleanup of files removes them later.
        }
    }

    /// <summary>Returns the file of a variant.</summary>
    public string File(VideoJob job, VideoVariant variant) => variant switch
    {
        VideoVariant.Video => Video(job.Id, job.Attempt),
        VideoVariant.Thumbnail => Thumbnail(job.Id, job.Attempt),
        VideoVariant.Spritesheet => Spritesheet(job.Id, job.Attempt),
        VideoVariant.LastFrame => LastFrame(job.Id, job.Attempt),
        VideoVariant.Preview => Preview(job.Id, job.Attempt),
        _ => InputPicture(job.Id),
    };

    /// <summary>Total bytes of the files that stay after a completed attempt: all except live stream, preview and finished units.</summary>
    public long BytesOf(string id, int attempt) => new DirectoryInfo(For(id)).EnumerateFiles()
        .Where(file => file.FullName != Live(id, attempt) && file.FullName != Preview(id, attempt) && file.FullName != Units(id)).Sum(file => file.Length);

    /// <summary>Removes all files of a video.</summary>
    public void Delete(string id)
    {
        if (Directory.Exists(For(id)))
            Directory.Delete(For(id), recursive: true);
    }

    /// <summary>Removes the files of a video that is no longer in the queue; the cleanup removes what is left.</summary>
    public void TryDelete(string id)
    {
        try
        {
            Delete(id);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The cleanup of files removes folders without a video.
        }
    }

    /// <summary>Removes a video's folder if it is empty.</summary>
    public void DeleteIfEmpty(string id)
    {
        if (Directory.Exists(For(id)) && !Directory.EnumerateFileSystemEntries(For(id)).Any())
            Directory.Delete(For(id));
    }

    /// <summary>Removes the files of an attempt; input files stay.</summary>
    public void DeleteAttempt(string id, int attempt) => DeleteMade(id, name => name.StartsWith(FormattableString.Invariant($"{attempt}."), StringComparison.Ordinal));

    /// <summary>Removes the files of all attempts; finished units stay.</summary>
    public void DeleteMade(string id) => DeleteMade(id, name => !name.StartsWith("input.", StringComparison.Ordinal) && !IsUnits(name));

    /// <summary>Measures the folder and its disk.</summary>
    /// <param name="keepBytes">Most bytes of finished videos.</param>
    public DiskUse Measure(long? keepBytes)
    {
        var (finished, interim, files) = (0L, 0L, 0L);
        foreach (var file in new DirectoryInfo(Videos) is { Exists: true } videos ? videos.EnumerateFiles("*", SearchOption.AllDirectories) : [])
        {
            files++;
            if (IsUnits(file.Name) || file.Name.StartsWith('.') || file.Name.Contains(".live.", StringComparison.Ordinal) || file.Name.Contains(".preview.", StringComparison.Ordinal))
                interim += LengthOf(file);
            else
                finished += LengthOf(file);
        }

        var uploads = new DirectoryInfo(Incoming) is { Exists: true } incoming ? incoming.EnumerateFiles().Sum(LengthOf) : 0;
        var queue = Directory.Exists(Root) ? new DirectoryInfo(Root).EnumerateFiles(Path.GetFileName(Database) + "*").Sum(LengthOf) : 0;
        var drive = new DriveInfo(Root);
        return new DiskUse(files, finished, interim, uploads, queue, drive.AvailableFreeSpace, drive.TotalSize, keepBytes);
    }

    // A file may go while it is measured.
    private static long LengthOf(FileInfo file)
    {
        try
        {
            return file.Length;
        }
        catch (FileNotFoundException)
        {
            return 0;
        }
    }

    private void DeleteMade(string id, Func<string, bool> which)
    {
        if (!Directory.Exists(For(id)))
            return;
        foreach (var file in Directory.EnumerateFiles(For(id)).Where(file => which(Path.GetFileName(file))))
            System.IO.File.Delete(file);
    }

    private string Made(string id, int attempt, string name) => Path.Combine(For(id), FormattableString.Invariant($"{attempt}.{name}"));
}

/// <summary>Disk space of the data folder.</summary>
/// <param name="Files">Number of files of videos.</param>
/// <param name="Videos">Bytes of videos and of what is kept with them.</param>
/// <param name="Interim">Bytes of files that the end of their video removes: finished units, live streams, previews and files that are being written.</param>
/// <param name="Uploads">Bytes of uploads that are being read.</param>
/// <param name="Queue">Bytes of the queue where it is a file; 0 for PostgreSQL.</param>
/// <param name="Free">Free bytes of the disk.</param>
/// <param name="Total">All bytes of the disk.</param>
/// <param name="Keep">Bytes beyond which the oldest videos are removed; null for no limit.</param>
internal sealed record DiskUse(long Files, long Videos, long Interim, long Uploads, long Queue, long Free, long Total, long? Keep);

/// <summary>Removes files that no video of the queue needs.</summary>
/// <param name="store">The queue.</param>
/// <param name="folder">The folder.</param>
/// <param name="rules">Age and size up to which videos are kept.</param>
internal sealed class FileCleanup(IJobStore store, VideoFolder folder, RetentionRules rules)
{
    // The files of a request are written before its job is added, so recently written files are kept.
    private static readonly TimeSpan Young = TimeSpan.FromMinutes(10);

    /// <summary>Removes videos beyond age and size limits, then files without a video and files of former attempts.</summary>
    public async Task CleanAsync(CancellationToken cancellationToken)
    {
        await ForgetAsync(cancellationToken).ConfigureAwait(false);
        await SweepAsync(Young, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Removes files without a video and files of former attempts, unless they were written recently.</summary>
    public async Task SweepAsync(TimeSpan young, CancellationToken cancellationToken)
    {
        // Listed first: a job added meanwhile has no folder in the list.
        var folders = Directory.Exists(folder.Videos) ? Directory.GetDirectories(folder.Videos) : [];
        var states = await store.StatesAsync(cancellationToken).ConfigureAwait(false);
        foreach (var path in folders)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var id = Path.GetFileName(path);
            if (!states.TryGetValue(id, out var state))
            {
                if (IsOld(path, young) && Directory.EnumerateFiles(path).All(file => IsOld(file, young)))
                    Directory.Delete(path, recursive: true);
                continue;
            }

            if (state.IsUnreadable)
                continue;
            foreach (var file in Directory.EnumerateFiles(path).Where(file => !Belongs(Path.GetFileName(file), state) && IsOld(file, young)))
                File.Delete(file);
        }

        foreach (var file in Directory.Exists(folder.Incoming) ? Directory.EnumerateFiles(folder.Incoming).Where(file => IsOld(file, young)) : [])
            File.Delete(file);
    }

    private async Task ForgetAsync(CancellationToken cancellationToken)
    {
        if (rules.KeepDays is null && rules.KeepBytes is null)
            return;
        var ended = (await store.StatesAsync(cancellationToken).ConfigureAwait(false))
            .Where(job => job.Value.CompletedAt is not null)
            .OrderByDescending(job => job.Value.CompletedAt);
        var (oldest, bytes) = (DateTimeOffset.UtcNow - rules.Age, 0L);
        foreach (var (id, state) in ended)
        {
            bytes += state.Bytes;
            if (state.CompletedAt >= oldest && (rules.KeepBytes is not { } most || bytes <= most))
                continue;
            await store.DeleteAsync(id, cancellationToken).ConfigureAwait(false);
            folder.Delete(id);
        }
    }

    // Input files stay as long as the job, so that it can be remixed.
    private static bool Belongs(string name, StoredState state)
    {
        if (name.StartsWith("input.", StringComparison.Ordinal))
            return true;
        if (VideoFolder.IsUnits(name))
            return state.Status is VideoStatus.Queued or VideoStatus.InProgress;
        if (!name.StartsWith(FormattableString.Invariant($"{state.Attempt}."), StringComparison.Ordinal))
            return state.Status == VideoStatus.InProgress && name.StartsWith(FormattableString.Invariant($".{state.Attempt}."), StringComparison.Ordinal);
        return state.Status == VideoStatus.InProgress || (state.Status == VideoStatus.Completed && !name.Contains(".live.", StringComparison.Ordinal) && !name.Contains(".preview.", StringComparison.Ordinal));
    }

    private static bool IsOld(string path, TimeSpan young) => DateTime.UtcNow - File.GetLastWriteTimeUtc(path) > young;
}

/// <summary>Age and size up to which videos are kept.</summary>
/// <param name="KeepDays">Days that videos are kept; null is for ever.</param>
/// <param name="KeepBytes">Total bytes of all videos, beyond which the oldest are removed; null is no limit.</param>
internal sealed record RetentionRules(double? KeepDays = null, long? KeepBytes = null)
{
    private const double MostDays = 36500;

    /// <summary>How long videos are kept at most.</summary>
    public TimeSpan Age { get; } = TimeSpan.FromDays(Math.Min(KeepDays ?? MostDays, MostDays));

    /// <summary>When an ended video is removed for its age; null for never.</summary>
    public DateTimeOffset? End(VideoJob job) => KeepDays is null ? null : job.CompletedAt + Age;
}
