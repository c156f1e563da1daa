using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>The available models. They are looked up at each call: a model may be downloaded meanwhile, or unavailable for a moment.</summary>
/// <param name="folders">Returns the model folders, the default first.</param>
/// <param name="log">Receives the fault of a folder that is left out.</param>
internal sealed partial class ModelCatalog(Func<IReadOnlyList<ModelFolder>> folders, ILogger<ModelCatalog> log)
{
    private readonly System.Collections.Concurrent.ConcurrentDictionary<string, string> leftOut = [];

    /// <summary>
    /// Returns all models. A checkpoint with several transformers has one model for each, named after folder and variant; its folder name alone stands for the first.
    /// </summary>
    public IReadOnlyList<VideoModel> All() => Scan().Models;

    /// <summary>Returns all models and the reason why the default is unavailable; null when it is available.</summary>
    public (IReadOnlyList<VideoModel> Models, string? Fault) Scan()
    {
        var (models, places) = (new List<VideoModel>(), Folders(out var fault));
        foreach (var (i, (name, folder)) in places.Index())
        {
            try
            {
                var checkpoint = Models.CheckpointFolder.Open(folder);
                models.AddRange(checkpoint.Variants.Select(variant =>
                    new VideoModel(checkpoint.Variants.Count == 1 || variant.Length == 0 ? name : $"{name}:{variant}", checkpoint.Root, variant, checkpoint.Settings(variant))));
                leftOut.TryRemove(name, out _);
            }
            catch (Exception e)
            {
                // A fault of one folder must not affect the others. It is logged once, not at each lookup.
                if (i == 0)
                    fault = Sentence.First(e);
                if (!leftOut.TryGetValue(name, out var known) || known != e.Message)
                    LogLeftOut(log, name, leftOut[name] = e.Message);
            }
        }

        return (models, fault);
    }

    /// <summary>Whether a model is available now.</summary>
    public bool Has(string? id) => id is not null && Among(All(), id) is not null;

    /// <summary>
    /// Finds a model by its id, or by the name of its checkpoint, which stands for the checkpoint's first model. Null
    /// when there is none.
    /// </summary>
    /// <param name="models">Models to search.</param>
    /// <param name="name">Name to find.</param>
    public static VideoModel? Among(IReadOnlyList<VideoModel> models, string name) =>
        models.FirstOrDefault(model => model.Id == name) ?? models.FirstOrDefault(model => model.Id.StartsWith(name + ":", StringComparison.Ordinal));

    /// <summary>Returns a model by its id, or by the name of its checkpoint; null returns the default.</summary>
    /// <exception cref="JobException">The model does not exist or is unavailable.</exception>
    public VideoModel Find(string? id)
    {
        var all = All();
        var places = Folders(out var fault);
        if (all.Count == 0 && places.Count == 0)
            throw fault is null ? ServiceFault.NoModel() : ServiceFault.ModelsUnreadable();
        var name = id ?? places.FirstOrDefault()?.Name ?? all[0].Id;
        if (Among(all, name) is { } found)
            return found;
        // Another model would make another video than the one requested.
        if (places.Any(place => place.Name == name || name.StartsWith(place.Name + ":", StringComparison.Ordinal)))
            throw ServiceFault.ModelUnreadable(name);
        throw ServiceFault.ModelUnknown(id, all);
    }

    private IReadOnlyList<ModelFolder> Folders(out string? fault)
    {
        try
        {
            var found = folders();
            leftOut.TryRemove("", out _);
            fault = null;
            return found;
        }
        catch (Exception e)
        {
            fault = Sentence.First(e);
            if (!leftOut.TryGetValue("", out var known) || known != e.Message)
                LogLeftOut(log, "of the service", leftOut[""] = e.Message);
            return [];
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The model {Name} is left out: {Reason}")]
    private static partial void LogLeftOut(ILogger log, string name, string reason);
}

/// <summary>The model in memory. It is loaded when a job needs it, kept for the next job and replaced by the model of another job.</summary>
/// <param name="options">Options for loading.</param>
internal sealed class LoadedModel(PipelineOptions options) : IDisposable
{
    private VideoPipeline? pipeline;
    private string? id;
    private volatile bool isAbandoned;

    /// <summary>Id of the loaded model; null before the first.</summary>
    public string? Id => id;

    /// <summary>Returns the configurations of a model, which plan a run before the model is loaded. Not thread-safe.</summary>
    /// <exception cref="Torch.CheckpointException">The model cannot be read.</exception>
    public PlannedModel Planned(VideoModel model) => id == model.Id && pipeline?.Model is { } planned ? planned
        : PlannedModel.Of(Models.CheckpointFolder.Open(model.Folder), model.Variant);

    /// <summary>Returns the pipeline of a model. Not thread-safe.</summary>
    public VideoPipeline Get(VideoModel model, IProgress<GenerationProgress>? progress)
    {
        if (id == model.Id && pipeline is not null)
            return pipeline;
        // Two models together may exceed the memory.
        Dispose();
        pipeline = VideoPipeline.Load(model.Folder, options with { Variant = model.Variant }, progress);
        id = model.Id;
        return pipeline;
    }

    /// <summary>Keeps the model in memory until the process ends, for a computation that could not be stopped in time.</summary>
    public void Abandon() => isAbandoned = true;

    public void Dispose()
    {
        if (isAbandoned)
            return;
        pipeline?.Dispose();
        (pipeline, id) = (null, null);
    }
}
