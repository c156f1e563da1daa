using PyramidFlow.Models;

namespace PyramidFlow.Hub;

/// <summary>A released checkpoint that can be downloaded by name.</summary>
/// <param name="Name">Name in this program; also the name of its folder.</param>
/// <param name="Repository">OWNER/NAME on the Hugging Face hub.</param>
/// <param name="Family">Family of its transformers.</param>
/// <param name="Variants">Its transformers, the default first.</param>
/// <param name="Description">One phrase for lists.</param>
internal sealed record ReleasedModel(string Name, string Repository, ModelFamily Family, IReadOnlyList<string> Variants, string Description);

/// <summary>A checkpoint folder that is found by name.</summary>
/// <param name="Name">Name of the folder.</param>
/// <param name="Folder">Its path.</param>
internal readonly record struct InstalledModel(string Name, string Folder);

/// <summary>Models that are known by name: the released ones, and the checkpoint folders that are installed on this machine.</summary>
internal static class ModelCatalog
{
    /// <summary>Name of the model that is used unless another is chosen; it is part of the repository.</summary>
    public const string Default = "sprites";

    /// <summary>Environment variable that lists folders of models, separated like <c>PATH</c>.</summary>
    public const string Variable = "PYRAMIDFLOW_MODELS";

    /// <summary>The released checkpoints.</summary>
    public static IReadOnlyList<ReleasedModel> Released { get; } =
    [
        new(ModelFamilies.Flux.ReleasedName, "rain1011/pyramid-flow-miniflux", ModelFamilies.Flux, ["384p", "768p", "image"], "the newer release, miniFLUX"),
        new(ModelFamilies.Sd3.ReleasedName, "rain1011/pyramid-flow-sd3", ModelFamilies.Sd3, ["384p", "768p"], "the first release, SD3"),
    ];

    /// <summary>The released checkpoint of a name; null if there is none.</summary>
    public static ReleasedModel? FindReleased(string name) => Released.FirstOrDefault(model => model.Name == name);

    /// <summary>The installed models; of two with the same name the first.</summary>
    public static IReadOnlyList<InstalledModel> Installed() =>
        [.. Roots().Where(Directory.Exists)
            .SelectMany(root => Directory.GetDirectories(root).Order(StringComparer.Ordinal))
            .Where(CheckpointFolder.IsCheckpoint)
            .Select(folder => new InstalledModel(Path.GetFileName(folder), folder))
            .DistinctBy(model => model.Name)];

    /// <summary>The folder of an installed model; null if none has the name.</summary>
    public static string? FindInstalled(string name) => Installed().FirstOrDefault(model => model.Name == name).Folder;

    /// <summary>Folders that <see cref="Variable"/> lists; may be empty.</summary>
    public static IReadOnlyList<string> NamedRoots() =>
        (Environment.GetEnvironmentVariable(Variable) ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);

    // The folders of the variable, then "models" beside the program and in each folder above it, which includes the repository's.
    private static IEnumerable<string> Roots()
    {
        foreach (var named in NamedRoots())
            yield return named;
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            yield return Path.Combine(folder.FullName, "models");
    }
}
