using PyramidFlow.Hub;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Cli.Serving;

/// <summary>The models that can be asked of a server: the default, then all that are installed.</summary>
internal static class ServedModels
{
    /// <param name="folder">Folder of the default; it is named even while it is away.</param>
    public static IReadOnlyList<ModelFolder> Of(string folder)
    {
        var name = Path.GetFileName(folder);
        return [new ModelFolder(name, folder), .. ModelCatalog.Installed().Where(model => model.Name != name).Select(model => new ModelFolder(model.Name, model.Folder))];
    }
}
