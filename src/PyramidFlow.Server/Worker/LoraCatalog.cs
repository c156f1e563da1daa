using System.Collections.Concurrent;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// The LoRAs that requests may name: the safetensors files of one folder, and the folders in it that hold an adapter. They are looked up at each call. A name is compared with those of the
/// folder and never becomes part of a path.
/// </summary>
/// <param name="folder">The folder; null for none.</param>
/// <param name="models">The models that a LoRA may fit.</param>
/// <param name="log">Receives why a LoRA fits no model, or the folder cannot be read.</param>
internal sealed partial class LoraCatalog(string? folder, ModelCatalog models, ILogger<LoraCatalog> log)
{
    private const string Extension = ".safetensors";
    private const int LongestName = 100;

    // By the states of the LoRA's files and of the model's configuration: why the LoRA does not fit; empty where it does.
    private readonly ConcurrentDictionary<(string Lora, string Model, string Folder, DateTime Written), string> misfits = [];
    private readonly ConcurrentDictionary<string, string> told = [];

    /// <summary>Names of all LoRAs in order; none while the folder cannot be read.</summary>
    public IReadOnlyList<string> Names => [.. Places(out _).Keys];

    /// <summary>All LoRAs that fit a model, by name; none while the folder cannot be read.</summary>
    public IReadOnlyList<VideoLora> All()
    {
        var places = Places(out _);
        if (places.Count == 0)
            return [];
        var (all, loras) = (models.All(), new List<VideoLora>());
        foreach (var (name, path) in places)
        {
            var reasons = all.Select(model => Misfit(path, model)).ToList();
            if (reasons.Contains(""))
                loras.Add(new VideoLora(name, [.. all.Zip(reasons).Where(model => model.Second.Length == 0).Select(model => model.First.Id)]));
            else if (reasons.Count > 0)
                Tell(path, reasons[0]);
        }

        return loras;
    }

    /// <summary>Refuses LoRAs that do not exist or that do not fit a model.</summary>
    /// <param name="named">LoRAs with names in place of paths.</param>
    /// <param name="model">The model.</param>
    /// <exception cref="JobException">One of them cannot be used.</exception>
    public void Check(IReadOnlyList<LoraUse> named, VideoModel model)
    {
        foreach (var (lora, found) in named.Zip(Find(named) ?? []))
        {
            if (Misfit(found.Path, model).Length > 0)
                throw ServiceFault.LoraOfOtherModel(lora.Path, model.Id);
        }
    }

    /// <summary>The same LoRAs with their paths.</summary>
    /// <param name="named">LoRAs with names in place of paths; null is none.</param>
    /// <exception cref="JobException">One of them does not exist, or the folder cannot be read.</exception>
    public IReadOnlyList<LoraUse>? Find(IReadOnlyList<LoraUse>? named)
    {
        if (named is not { Count: > 0 })
            return null;
        var places = Places(out var fault);
        if (fault is not null)
            throw ServiceFault.LorasUnreadable(fault);
        return [.. named.Select(lora => lora with { Path = places.GetValueOrDefault(lora.Path) ?? throw ServiceFault.LoraUnknown(lora.Path, [.. places.Keys]) })];
    }

    // Paths by name. A file goes before a folder of the same name.
    private SortedDictionary<string, string> Places(out Exception? fault)
    {
        var places = new SortedDictionary<string, string>(StringComparer.Ordinal);
        fault = null;
        if (folder is null)
            return places;
        try
        {
            foreach (var file in Directory.EnumerateFiles(folder, "*" + Extension))
                Add(Path.GetFileNameWithoutExtension(file), file);
            foreach (var inner in Directory.EnumerateDirectories(folder).Where(IsAdapter))
                Add(Path.GetFileName(inner), inner);
            told.TryRemove("", out _);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Tell("", Sentence.First(e));
            fault = e;
        }

        return places;

        void Add(string name, string path)
        {
            if (IsName(name))
                places.TryAdd(name, path);
        }
    }

    // Names stand in texts with weights after a colon and semicolons between them, and in columns of the queue.
    private static bool IsName(string name) => name.Length is > 0 and <= LongestName && name.Trim() == name && name[0] is not ('.' or '[' or '{') && !name.Any(c => char.IsControl(c) || c is ':' or ';');

    private static bool IsAdapter(string path)
    {
        try
        {
            LoraPlace.Find(path);
            return true;
        }
        catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    // Why a LoRA does not fit a model; empty where it does.
    private string Misfit(string path, VideoModel model)
    {
        try
        {
            var transformer = CheckpointFolder.Open(model.Folder).Transformer(model.Variant);
            return misfits.GetOrAdd((LoraPlace.Find(path).State(), model.Id, model.Folder, File.GetLastWriteTimeUtc(transformer.ConfigFile)), _ => Compare(path, transformer));
        }
        catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException)
        {
            return Sentence.First(e);
        }
    }

    private static string Compare(string path, ComponentFolder transformer)
    {
        using var model = TransformerConfigs.Load(transformer.ConfigFile).Build();
        model.Attach(transformer.OpenWeights());
        try
        {
            LoraFile.CheckLayers(model, path);
            return "";
        }
        catch (CheckpointException e)
        {
            return Sentence.First(e);
        }
    }

    private void Tell(string path, string reason)
    {
        if (told.TryGetValue(path, out var known) && known == reason)
            return;
        told[path] = reason;
        if (path.Length == 0)
            LogUnreadable(log, folder!, reason);
        else
            LogLeftOut(log, Path.GetFileName(path), reason);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The folder of LoRAs {Folder} cannot be read, so there are none: {Reason}")]
    private static partial void LogUnreadable(ILogger log, string folder, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The LoRA {Name} is left out: {Reason}")]
    private static partial void LogLeftOut(ILogger log, string name, string reason);
}
