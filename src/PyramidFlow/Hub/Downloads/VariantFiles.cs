namespace PyramidFlow.Hub.Downloads;

/// <summary>Which files of a repository a variant runs with; what else lies there is not fetched.</summary>
internal static class VariantFiles
{
    /// <summary>The variants of a repository, the default first.</summary>
    internal static IReadOnlyList<string> Variants(IEnumerable<HubFile> files) =>
        CheckpointNames.Variants(files.Select(file => file.Folder).Where(folder => !folder.Contains('/', StringComparison.Ordinal)).Distinct());

    /// <summary>The files of one variant.</summary>
    /// <param name="files">All files of the repository.</param>
    /// <param name="variant">One of <see cref="Variants"/>.</param>
    /// <param name="repository">What to call it in an error.</param>
    /// <exception cref="HubException">A part is not there, or holds no weights.</exception>
    internal static IReadOnlyList<HubFile> Of(IReadOnlyList<HubFile> files, string variant, string repository)
    {
        var folders = files.ToLookup(file => file.Folder);
        var family = folders.Contains("text_encoder_3") ? ModelFamily.Mmdit : ModelFamily.Flux;
        var text = family.TextComponents();
        var chosen = folders[""].Where(file => file.Name == PipelineSettings.FileName).ToList();
        foreach (var model in text.Select(part => part.TextEncoder).Prepend(CheckpointNames.Vae).Prepend(CheckpointNames.TransformerOf(variant)))
            chosen.AddRange(Model([.. folders[model]], model, repository));
        foreach (var (tokenizer, _) in text)
        {
            if (!folders.Contains(tokenizer))
                throw Lacks(repository, tokenizer);
            chosen.AddRange(folders[tokenizer]);
        }

        return chosen;
    }

    private static IEnumerable<HubFile> Model(IReadOnlyList<HubFile> files, string folder, string repository)
    {
        var config = files.FirstOrDefault(file => file.Name == ComponentFolder.ConfigName) ?? throw Lacks(repository, $"{folder}/{ComponentFolder.ConfigName}");
        var weights = Torch.Checkpoints.WeightsFile.Choose([.. files.Select(file => file.Name)]);
        if (weights.Count == 0)
            throw Lacks(repository, $"weights in {folder}");
        return files.Where(file => weights.Contains(file.Name)).Prepend(config);
    }

    private static HubException Lacks(string repository, string part) =>
        new($"{repository} has no {part}: it is not a whole checkpoint of Pyramid Flow, choose another repository");
}
