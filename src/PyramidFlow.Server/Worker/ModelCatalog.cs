using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>The models there are, found anew whenever they are asked for: one may be downloaded meanwhile, or be away for a moment.</summary>
/// <param name="folders">Finds their folders, the default first.</param>
/// <param name="log">Takes what is wrong with a folder that is left out.</param>
internal sealed partial class ModelCatalog(Func<IReadOnlyList<ModelFolder>> folders, ILogger<ModelCatalog> log)
{
    private readonly System.Collections.Concurrent.ConcurrentDictionary<string, string> leftOut = [];

    /// <summary>All models: of a checkpoint with several transformers each, its first under the folder's name alone too.</summary>
    public IReadOnlyList<VideoModel> All() => Look().Models;

    /// <summary>All models, with the reason why the default one cannot be used; null when it can.</summary>
    public (IReadOnlyList<VideoModel> Models, string? Trouble) Look()
    {
        var (models, places) = (new List<VideoModel>(), Folders(out var trouble));
        foreach (var (i, (name, folder)) in places.Index())
        {
            try
            {
                var checkpoint = Models.CheckpointFolder.Open(folder);
                models.AddRange(checkpoint.Variants.Select(variant =>
                    new VideoModel(checkpoint.Variants.Count == 1 ? name : $"{name}:{variant}", checkpoint.Root, variant, checkpoint.Settings(variant))));
                leftOut.TryRemove(name, out _);
            }
            catch (Exception e)
            {
                // Whatever is wrong with one folder, the others are there. It is told when it is new, and not at each look.
                if (i == 0)
                    trouble = JobFaults.Sentence(e);
                if (!leftOut.TryGetValue(name, out var known) || known != e.Message)
                    LogLeftOut(log, name, leftOut[name] = e.Message);
            }
        }

        return (models, trouble);
    }

    /// <summary>Whether a model is there just now.</summary>
    public bool Has(string? id) => id is not null && Among(All(), id) is not null;

    /// <summary>The model of a name: its id, or the name of its checkpoint, which is that of the checkpoint's first model. Null where there is none.</summary>
    /// <param name="models">Models to choose from.</param>
    /// <param name="name">Name to look for.</param>
    public static VideoModel? Among(IReadOnlyList<VideoModel> models, string name) =>
        models.FirstOrDefault(model => model.Id == name) ?? models.FirstOrDefault(model => model.Id.StartsWith(name + ":", StringComparison.Ordinal));

    /// <summary>A model by its id, or by its checkpoint's name for the first of it; null takes the default.</summary>
    /// <exception cref="JobException">There is no such model, or it is away just now.</exception>
    public VideoModel Find(string? id)
    {
        var all = All();
        var places = Folders(out var trouble);
        if (all.Count == 0 && places.Count == 0)
        {
            throw new JobException(JobFault.Unavailable, trouble is null
                ? "no model is installed: download one, and name the folder around it in PYRAMIDFLOW_MODELS"
                : "the models cannot be read just now: try again in a moment");
        }

        var name = id ?? places.FirstOrDefault()?.Name ?? all[0].Id;
        if (Among(all, name) is { } found)
            return found;
        // Another one in its place would be another video than was asked for.
        if (places.Any(place => place.Name == name || name.StartsWith(place.Name + ":", StringComparison.Ordinal)))
            throw new JobException(JobFault.Unavailable, $"the model '{name}' cannot be read just now: try again in a moment, or ask for another") { Parameter = "model" };
        throw new JobException(JobFault.Invalid, $"there is no model '{id}': use {string.Join(", ", all.Select(model => model.Id))}") { Parameter = "model" };
    }

    private IReadOnlyList<ModelFolder> Folders(out string? trouble)
    {
        try
        {
            var found = folders();
            leftOut.TryRemove("", out _);
            trouble = null;
            return found;
        }
        catch (Exception e)
        {
            trouble = JobFaults.Sentence(e);
            if (!leftOut.TryGetValue("", out var known) || known != e.Message)
                LogLeftOut(log, "of the service", leftOut[""] = e.Message);
            return [];
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The model {Name} is left out: {Reason}")]
    private static partial void LogLeftOut(ILogger log, string name, string reason);
}
