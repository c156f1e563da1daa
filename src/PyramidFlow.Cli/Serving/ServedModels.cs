using PyramidFlow.Cli.Models;
using PyramidFlow.Server;

namespace PyramidFlow.Cli.Serving;

/// <summary>The models that can be asked of a server: the default, then all that are installed.</summary>
internal static class ServedModels
{
    /// <param name="first">Folder or name of the default.</param>
    public static IReadOnlyList<ModelFolder> Of(string first)
    {
        var folder = ModelCatalog.Find(first);
        var name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));
        return [new ModelFolder(name, folder), .. ModelCatalog.Known().Where(model => model.Name != name).Select(model => new ModelFolder(model.Name, model.Folder))];
    }
}
