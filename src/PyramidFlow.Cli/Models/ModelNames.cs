using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub;
using PyramidFlow.Hub.Downloads;
using PyramidFlow.Models;

namespace PyramidFlow.Cli.Models;

/// <summary>Resolves models as users name them.</summary>
internal static class ModelNames
{
    /// <summary>The folder of a model given by name or as a folder.</summary>
    /// <exception cref="UsageException">There is no such model.</exception>
    public static string Find(string nameOrFolder)
    {
        if (CheckpointFolder.IsCheckpoint(nameOrFolder))
            return nameOrFolder;
        var installed = ModelCatalog.Installed();
        if (installed.FirstOrDefault(model => model.Name == nameOrFolder).Folder is { } found)
            return found;
        if (Directory.Exists(nameOrFolder))
            throw CommandFault.NoCheckpoint(nameOrFolder);
        var name = Path.GetFileName(Path.TrimEndingDirectorySeparator(nameOrFolder));
        if (ModelCatalog.FindReleased(name) is not null)
            throw CommandFault.ModelNotInstalled(nameOrFolder, name);
        throw CommandFault.UnknownModel(nameOrFolder, [.. installed.Select(model => model.Name)], ModelCatalog.Variable);
    }

    /// <summary>The repository to download from and the name of its folder, given the name of a released model or OWNER/NAME.</summary>
    /// <exception cref="UsageException">It is neither.</exception>
    public static (HubSource Source, string Name) FindDownload(string typed, string revision)
    {
        if (ModelCatalog.FindReleased(typed) is { } released)
            return (new HubSource(released.Repository, revision), released.Name);
        if (!typed.Contains('/', StringComparison.Ordinal))
            throw CommandFault.UnknownDownload(typed, ModelCatalog.Released.Select(model => model.Name));
        try
        {
            return (new HubSource(typed, revision), typed[(typed.LastIndexOf('/') + 1)..]);
        }
        catch (HubException e)
        {
            throw CommandFault.ValueInvalid(e);
        }
    }
}
