using PyramidFlow.Hub;

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
            throw new UsageException($"the model {nameOrFolder} is not here yet: run {CommandLine.Name} models download {name}");
        var choices = known.Count > 0
            ? $"use {string.Join(", ", known.Select(model => model.Name))} or the folder of a checkpoint"
            : $"none is installed; name the folder of a checkpoint, or set {Variable} to the folder around it";
        throw new UsageException($"unknown model '{nameOrFolder}': {choices}");
    }
}
