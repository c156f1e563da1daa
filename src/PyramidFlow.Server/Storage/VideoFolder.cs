using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>
/// Where files of videos are: a folder for each video. What an attempt makes carries its number, so that a worker that was
/// given up cannot overwrite what its successor makes. No name comes from a user.
/// </summary>
/// <param name="root">The data folder.</param>
internal sealed class VideoFolder(string root)
{
    /// <summary>Folder of all videos.</summary>
    public string Videos { get; } = Path.Combine(Path.GetFullPath(root), "videos");

    /// <summary>Folder of uploads while they are read.</summary>
    public string Incoming { get; } = Path.Combine(Path.GetFullPath(root), "incoming");

    /// <summary>The queue when it is a file.</summary>
    public string Database { get; } = Path.Combine(Path.GetFullPath(root), "jobs.db");

    /// <summary>The download name of the picture or video that a video starts from.</summary>
    public static string InputName(string id, string extension) => $"{id}-input{extension}";

    /// <summary>Makes the folders.</summary>
    public void Create()
    {
        Directory.CreateDirectory(Videos);
        Directory.CreateDirectory(Incoming);
    }

    /// <summary>Folder of a video.</summary>
    public string Of(string id) => VideoId.IsValid(id) ? Path.Combine(Videos, id) : throw new ArgumentException("this is no id of a video", nameof(id));

    public string Video(string id, int attempt) => Made(id, attempt, "mp4");

    public string Live(string id, int attempt) => Made(id, attempt, "live.mp4");

    public string Thumbnail(string id, int attempt) => Made(id, attempt, "thumbnail.png");

    public string Spritesheet(string id, int attempt) => Made(id, attempt, "spritesheet.png");

    public string LastFrame(string id, int attempt) => Made(id, attempt, "last.png");

    public string Preview(string id, int attempt) => Made(id, attempt, "preview.png");

    public string InputPicture(string id) => Path.Combine(Of(id), "input.png");

    public string InputVideo(string id) => Path.Combine(Of(id), "input.mp4");

    /// <summary>The file of a variant.</summary>
    public string File(VideoJob job, VideoVariant variant) => variant switch
    {
        VideoVariant.Video => Video(job.Id, job.Attempt),
        VideoVariant.Thumbnail => Thumbnail(job.Id, job.Attempt),
        VideoVariant.Spritesheet => Spritesheet(job.Id, job.Attempt),
        VideoVariant.LastFrame => LastFrame(job.Id, job.Attempt),
        VideoVariant.Preview => Preview(job.Id, job.Attempt),
        _ => InputPicture(job.Id),
    };

    /// <summary>Bytes of the files that stay when an attempt has made a video: all but what only shows it while it is made.</summary>
    public long BytesOf(string id, int attempt) => new DirectoryInfo(Of(id)).EnumerateFiles()
        .Where(file => file.FullName != Live(id, attempt) && file.FullName != Preview(id, attempt)).Sum(file => file.Length);

    /// <summary>Removes a video's files.</summary>
    public void Delete(string id)
    {
        if (Directory.Exists(Of(id)))
            Directory.Delete(Of(id), recursive: true);
    }

    /// <summary>Removes a video's folder if nothing is in it.</summary>
    public void DeleteIfEmpty(string id)
    {
        if (Directory.Exists(Of(id)) && !Directory.EnumerateFileSystemEntries(Of(id)).Any())
            Directory.Delete(Of(id));
    }

    /// <summary>Removes what an attempt made; what is needed to begin again stays.</summary>
    public void DeleteAttempt(string id, int attempt) => DeleteMade(id, name => name.StartsWith(FormattableString.Invariant($"{attempt}."), StringComparison.Ordinal));

    /// <summary>Removes what all attempts made.</summary>
    public void DeleteMade(string id) => DeleteMade(id, name => !name.StartsWith("input.", StringComparison.Ordinal));

    private void DeleteMade(string id, Func<string, bool> which)
    {
        if (!Directory.Exists(Of(id)))
            return;
        foreach (var file in Directory.EnumerateFiles(Of(id)).Where(file => which(Path.GetFileName(file))))
            System.IO.File.Delete(file);
    }

    private string Made(string id, int attempt, string name) => Path.Combine(Of(id), FormattableString.Invariant($"{attempt}.{name}"));
}
