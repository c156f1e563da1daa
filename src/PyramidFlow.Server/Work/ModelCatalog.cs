using PyramidFlow.Hub;
using PyramidFlow.Server.Jobs;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Server.Work;

/// <summary>The models there are, found anew whenever they are asked for: one may be downloaded meanwhile.</summary>
/// <param name="folders">Finds their folders, the default first.</param>
/// <param name="log">Takes what is wrong with a folder that is left out.</param>
internal sealed partial class ModelCatalog(Func<IReadOnlyList<ModelFolder>> folders, ILogger<ModelCatalog> log)
{
    /// <summary>All models: of a checkpoint with several transformers each, its first under the folder's name alone too.</summary>
    public IReadOnlyList<VideoModel> All()
    {
        var models = new List<VideoModel>();
        foreach (var (name, folder) in folders())
        {
            try
            {
                var checkpoint = CheckpointFolder.Open(folder);
                models.AddRange(checkpoint.Variants.Select(variant =>
                    new VideoModel(checkpoint.Variants.Count == 1 ? name : $"{name}:{variant}", checkpoint.Root, variant, checkpoint.Settings(variant))));
            }
            catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException)
            {
                LogLeftOut(log, name, e.Message);
            }
        }

        return models;
    }

    /// <summary>A model by its id, or by its checkpoint's name for the first of it; null takes the default.</summary>
    /// <exception cref="JobException">There is no such model.</exception>
    public VideoModel Find(string? id)
    {
        var all = All();
        if (all.Count == 0)
            throw new JobException(JobFault.Unavailable, "no model is installed: download one, and name the folder around it in PYRAMIDFLOW_MODELS");
        return id is null ? all[0]
            : all.FirstOrDefault(model => model.Id == id)
            ?? all.FirstOrDefault(model => model.Id.StartsWith(id + ":", StringComparison.Ordinal))
            ?? throw new JobException(JobFault.Invalid, $"there is no model '{id}': use {string.Join(", ", all.Select(model => model.Id))}") { Parameter = "model" };
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The model {Name} is left out: {Reason}")]
    private static partial void LogLeftOut(ILogger log, string name, string reason);
}
