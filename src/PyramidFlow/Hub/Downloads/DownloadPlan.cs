using PyramidFlow.Models;
namespace PyramidFlow.Hub.Downloads;

/// <summary>The files of a download, known before it starts.</summary>
/// <param name="Source">The repository.</param>
/// <param name="Variant">Variant of the transformer.</param>
/// <param name="Others">Variants that are not downloaded.</param>
/// <param name="Files">The files, all with checked paths.</param>
/// <param name="Folder">Full path of the checkpoint folder to write.</param>
internal sealed record DownloadPlan(HubSource Source, string Variant, IReadOnlyList<string> Others, IReadOnlyList<HubFile> Files, string Folder)
{
    /// <summary>Total size, bytes.</summary>
    public long TotalBytes => Files.Sum(file => file.Size);

    /// <summary>Bytes that earlier runs have downloaded.</summary>
    public long KeptBytes => Files.Sum(file => File.Exists(Target(file)) && new FileInfo(Target(file)).Length == file.Size
        ? file.Size
        : ResumableFile.KeptBytes(Target(file), file));

    /// <summary>Chooses the files of a variant.</summary>
    /// <param name="source">The repository.</param>
    /// <param name="files">All files of the repository.</param>
    /// <param name="variant">Variant of the transformer; null means the default variant of the repository.</param>
    /// <param name="folder">Checkpoint folder to write.</param>
    /// <exception cref="HubException">The repository has no such variant, or a part is missing.</exception>
    public static DownloadPlan Create(HubSource source, IReadOnlyList<HubFile> files, string? variant, string folder)
    {
        var variants = VariantFiles.Variants(files);
        if (variants.Count == 0)
            throw HubFault.NoCheckpoint(source.Repository);
        if (variant is not null && !variants.Contains(variant))
            throw HubFault.NoSuchVariant(source.Repository, variant, variants.Select(Shown));
        var chosen = variant ?? variants[0];
        return new DownloadPlan(source, chosen, [.. variants.Where(other => other != chosen)],
            VariantFiles.Choose(files, chosen, source.Repository), Path.GetFullPath(folder));
    }

    /// <summary>Target path of a file.</summary>
    internal string Target(HubFile file) => Path.Combine([Folder, .. file.Path.Split('/')]);

    private static string Shown(string variant) => variant.Length == 0 ? "none (leave it out)" : variant;
}

/// <summary>Chooses the files of a repository that a variant needs; other files are not downloaded.</summary>
internal static class VariantFiles
{
    /// <summary>The variants of a repository, the default first.</summary>
    internal static IReadOnlyList<string> Variants(IEnumerable<HubFile> files) =>
        CheckpointNames.Variants(files.Select(file => file.Folder).Where(folder => !folder.Contains('/', StringComparison.Ordinal)).Distinct());

    /// <summary>The files of one variant.</summary>
    /// <param name="files">All files of the repository.</param>
    /// <param name="variant">One of <see cref="Variants"/>.</param>
    /// <param name="repository">Name of the repository in error messages.</param>
    /// <exception cref="HubException">A part is missing or has no weights.</exception>
    internal static IReadOnlyList<HubFile> Choose(IReadOnlyList<HubFile> files, string variant, string repository)
    {
        var folders = files.ToLookup(file => file.Folder);
        // Families share the names of their first folders: the one with the most text encoders that are all present.
        var family = ModelFamilies.All.OrderByDescending(family => family.TextComponents.Count).FirstOrDefault(family => folders.Contains(family.TextComponents[^1].TextEncoder))
            ?? ModelFamilies.Flux;
        var text = family.TextComponents;
        var chosen = folders[""].Where(file => file.Name == PipelineSettings.FileName).ToList();
        foreach (var model in text.Select(part => part.TextEncoder).Prepend(CheckpointNames.Vae).Prepend(CheckpointNames.TransformerOf(variant)))
            chosen.AddRange(Model([.. folders[model]], model, repository));
        foreach (var (tokenizer, _) in text)
        {
            if (!folders.Contains(tokenizer))
                throw HubFault.Incomplete(repository, tokenizer);
            chosen.AddRange(folders[tokenizer]);
        }

        return chosen;
    }

    private static IEnumerable<HubFile> Model(IReadOnlyList<HubFile> files, string folder, string repository)
    {
        var config = files.FirstOrDefault(file => file.Name == ComponentFolder.ConfigName) ?? throw HubFault.Incomplete(repository, $"{folder}/{ComponentFolder.ConfigName}");
        var weights = Torch.Checkpoints.WeightsFile.Choose([.. files.Select(file => file.Name)]);
        if (weights.Count == 0)
            throw HubFault.Incomplete(repository, $"weights in {folder}");
        return files.Where(file => weights.Contains(file.Name)).Prepend(config);
    }
}
