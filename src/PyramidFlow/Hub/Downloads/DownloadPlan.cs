namespace PyramidFlow.Hub.Downloads;

/// <summary>What a download brings, known before it begins.</summary>
/// <param name="Source">From where.</param>
/// <param name="Variant">Which transformer.</param>
/// <param name="Others">The transformers that are left out.</param>
/// <param name="Files">The files, all with checked paths.</param>
/// <param name="Folder">Full path of the checkpoint folder to write.</param>
public sealed record DownloadPlan(HubSource Source, string Variant, IReadOnlyList<string> Others, IReadOnlyList<HubFile> Files, string Folder)
{
    /// <summary>Bytes of all files.</summary>
    public long TotalBytes => Files.Sum(file => file.Size);

    /// <summary>Bytes that an earlier run has brought.</summary>
    public long KeptBytes => Files.Sum(file => File.Exists(Target(file)) && new FileInfo(Target(file)).Length == file.Size
        ? file.Size
        : ResumableFile.KeptBytes(Target(file), file));

    /// <summary>Chooses the files.</summary>
    /// <param name="source">The repository.</param>
    /// <param name="files">All its files.</param>
    /// <param name="variant">Which transformer; null takes 384p, or the first there is.</param>
    /// <param name="folder">Checkpoint folder to write.</param>
    /// <exception cref="HubException">There is no such variant, or a part is missing.</exception>
    public static DownloadPlan Of(HubSource source, IReadOnlyList<HubFile> files, string? variant, string folder)
    {
        var variants = VariantFiles.Variants(files);
        if (variants.Count == 0)
            throw new HubException($"{source.Repository} holds no diffusion_transformer folder: it is not a checkpoint of Pyramid Flow");
        if (variant is not null && !variants.Contains(variant))
            throw new HubException($"{source.Repository} has no variant '{variant}': use {string.Join(", ", variants.Select(Shown))}");
        var chosen = variant ?? variants[0];
        return new DownloadPlan(source, chosen, [.. variants.Where(other => other != chosen)],
            VariantFiles.Of(files, chosen, source.Repository), Path.GetFullPath(folder));
    }

    /// <summary>Where a file goes.</summary>
    internal string Target(HubFile file) => Path.Combine([Folder, .. file.Path.Split('/')]);

    private static string Shown(string variant) => variant.Length == 0 ? "none (leave it out)" : variant;
}
