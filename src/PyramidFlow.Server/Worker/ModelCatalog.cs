using PyramidFlow.Generation;
using PyramidFlow.Models.Lora;
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
                var checkpoint = Hub.CheckpointFolder.Open(folder);
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

/// <summary>The model in memory: loaded when a job needs it, kept for the next, replaced when one needs another.</summary>
/// <param name="options">How models are loaded.</param>
internal sealed class LoadedModel(PipelineOptions options) : IDisposable
{
    private VideoPipeline? pipeline;
    private string? id;
    private volatile bool isAbandoned;

    /// <summary>Id of what is in memory; null before the first.</summary>
    public string? Id => id;

    /// <summary>The pipeline of a model. One caller at a time.</summary>
    public VideoPipeline Get(VideoModel model, IProgress<GenerationProgress> progress)
    {
        if (id == model.Id && pipeline is not null)
            return pipeline;
        // Two models at once may not fit.
        Dispose();
        pipeline = VideoPipeline.Load(model.Folder, options with { Variant = model.Variant }, progress);
        id = model.Id;
        return pipeline;
    }

    /// <summary>Leaves what is in memory to the end of the process: a computation that cannot be stopped in time still uses it.</summary>
    public void Abandon() => isAbandoned = true;

    public void Dispose()
    {
        if (isAbandoned)
            return;
        pipeline?.Dispose();
        (pipeline, id) = (null, null);
    }
}

/// <summary>The LoRAs of a service as the notes in its videos name them. One caller at a time.</summary>
/// <param name="loras">What is added to each model.</param>
internal sealed class NotedLoras(IReadOnlyList<LoraUse> loras)
{
    private readonly string?[] hashes = new string?[loras.Count];

    /// <summary>
    /// The LoRAs, in the order in which they are added. A hash is computed once. A LoRA that cannot be read has none in this result; the next call
    /// reads it again.
    /// </summary>
    public IReadOnlyList<NotedLora> Get() =>
        [.. loras.Select((lora, i) => new NotedLora(Path.GetFileName(Path.TrimEndingDirectorySeparator(lora.Path)), lora.Weight, hashes[i] ??= Hash(lora.Path)))];

    // The weights may be in memory already, so a file that is away is no reason to make no video.
    private static string? Hash(string path)
    {
        try
        {
            return LoraPlace.Of(path).Sha256();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
