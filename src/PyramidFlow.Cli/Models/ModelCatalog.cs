using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub;
using PyramidFlow.Hub.Downloads;

namespace PyramidFlow.Cli.Models;

/// <summary>Finds checkpoint folders by name.</summary>
internal static class ModelCatalog
{
    public const string Default = "sprites";
    public const string Variable = InstalledModels.Variable;

    /// <summary>Every model there is; of two with one name the first.</summary>
    public static IReadOnlyList<(string Name, string Folder)> Known() => InstalledModels.Known();

    /// <summary>The folder of a model given by name or as a folder.</summary>
    /// <exception cref="UsageException">There is no such model.</exception>
    public static string Find(string nameOrFolder)
    {
        if (CheckpointFolder.IsCheckpoint(nameOrFolder))
            return nameOrFolder;
        var known = Known();
        if (known.FirstOrDefault(model => model.Name == nameOrFolder).Folder is { } found)
            return found;
        if (Directory.Exists(nameOrFolder))
            throw new UsageException($"{nameOrFolder} is not a checkpoint folder: it has no diffusion_transformer_384p, _768p or _image in it");
        var name = Path.GetFileName(Path.TrimEndingDirectorySeparator(nameOrFolder));
        if (KnownDownload.All.Any(released => released.Name == name))
            throw new UsageException($"the model {nameOrFolder} is not here yet: run {About.Name} models download {name}");
        var choices = known.Count > 0
            ? $"use {string.Join(", ", known.Select(model => model.Name))} or the folder of a checkpoint"
            : $"none is installed; name the folder of a checkpoint, or set {Variable} to the folder around it";
        throw new UsageException($"unknown model '{nameOrFolder}': {choices}");
    }
}

/// <summary>A released checkpoint that can be downloaded by name.</summary>
/// <param name="Name">What it is called here; also its folder.</param>
/// <param name="Repository">Where it is.</param>
/// <param name="Variants">Its transformers.</param>
/// <param name="What">One phrase about it.</param>
internal sealed record KnownDownload(string Name, string Repository, IReadOnlyList<string> Variants, string What)
{
    /// <summary>The released checkpoints.</summary>
    public static IReadOnlyList<KnownDownload> All { get; } =
    [
        new("pyramid-flow-miniflux", "rain1011/pyramid-flow-miniflux", ["384p", "768p", "image"], "the newer release, miniFLUX"),
        new("pyramid-flow-sd3", "rain1011/pyramid-flow-sd3", ["384p", "768p"], "the first release, SD3"),
    ];

    /// <summary>The repository and the folder's name of what was typed: a known name or OWNER/NAME.</summary>
    /// <exception cref="UsageException">It is neither.</exception>
    public static (HubSource Source, string Name) Find(string typed, string revision)
    {
        if (All.FirstOrDefault(known => known.Name == typed) is { } found)
            return (new HubSource(found.Repository, revision), found.Name);
        if (!typed.Contains('/', StringComparison.Ordinal))
            throw new UsageException($"unknown model '{typed}': use {string.Join(", ", All.Select(known => known.Name))}, or OWNER/NAME of a repository");
        try
        {
            return (new HubSource(typed, revision), typed[(typed.LastIndexOf('/') + 1)..]);
        }
        catch (HubException e)
        {
            throw new UsageException(e.Message, e);
        }
    }
}
