namespace PyramidFlow.Hub;

/// <summary>Models that are found by name: checkpoint folders in the folders of models.</summary>
public static class InstalledModels
{
    /// <summary>Environment variable that names folders of models.</summary>
    public const string Variable = "PYRAMIDFLOW_MODELS";

    /// <summary>Folders that <see cref="Variable"/> names; may be none.</summary>
    public static IReadOnlyList<string> NamedRoots() =>
        (Environment.GetEnvironmentVariable(Variable) ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);

    /// <summary>
    /// Folders that hold models: what <see cref="Variable"/> names, then <c>models</c> beside the program and in each folder above it
    /// (the repository's among them).
    /// </summary>
    public static IEnumerable<string> Roots()
    {
        foreach (var named in NamedRoots())
            yield return named;
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            yield return Path.Combine(folder.FullName, "models");
    }

    /// <summary>Every model there is; of two with one name the first.</summary>
    public static IReadOnlyList<(string Name, string Folder)> Known() =>
        [.. Roots().Where(Directory.Exists)
            .SelectMany(root => Directory.GetDirectories(root).Order(StringComparer.Ordinal))
            .Where(CheckpointFolder.IsCheckpoint)
            .Select(folder => (Path.GetFileName(folder), folder))
            .DistinctBy(model => model.Item1)];

    /// <summary>The folder of a model, or null where none has the name.</summary>
    public static string? Find(string name) => Known().FirstOrDefault(model => model.Name == name).Folder;
}
