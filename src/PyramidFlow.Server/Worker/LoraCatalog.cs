using System.Collections.Concurrent;
using PyramidFlow.Generation;
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

    // By file, its state, and model: why the LoRA does not fit; empty where it does.
    private readonly ConcurrentDictionary<(string File, DateTime Written, long Length, string Model, string Folder), string> misfits = [];
    private readonly ConcurrentDictionary<string, string> told = [];

    /// <summary>Names of all LoRAs in order.</summary>
    public IReadOnlyList<string> Names => [.. Places().Keys];

    /// <summary>All LoRAs that fit a model, by name.</summary>
    public IReadOnlyList<VideoLora> All()
    {
        var places = Places();
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
    /// <exception cref="JobException">One of them does not exist.</exception>
    public IReadOnlyList<LoraUse>? Find(IReadOnlyList<LoraUse>? named)
    {
        if (named is not { Count: > 0 })
            return null;
        var places = Places();
        return [.. named.Select(lora => lora with { Path = places.GetValueOrDefault(lora.Path) ?? throw ServiceFault.LoraUnknown(lora.Path, [.. places.Keys]) })];
    }

    // Paths by name. A file goes before a folder of the same name.
    private SortedDictionary<string, string> Places()
    {
        var places = new SortedDictionary<string, string>(StringComparer.Ordinal);
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
            var file = new FileInfo(LoraPlace.Find(path).File);
            return misfits.GetOrAdd((file.FullName, file.LastWriteTimeUtc, file.Length, model.Id, model.Folder), _ => Compare(path, model));
        }
        catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException)
        {
            return Sentence.First(e);
        }
    }

    private static string Compare(string path, VideoModel model)
    {
        using var transformer = TransformerConfigs.Load(CheckpointFolder.Open(model.Folder).Transformer(model.Variant).ConfigFile).Build();
        try
        {
            LoraFile.CheckLayers(transformer, path);
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

/// <summary>LoRAs as the notes of a video name them. Not thread-safe.</summary>
internal sealed class NotedLoras
{
    private readonly Dictionary<(string Path, string? Digest), string?> hashes = [];

    /// <summary>
    /// Returns the LoRAs in the order of their addition. The hash of a file is computed once until the file changes. A LoRA whose files are away keeps its last hash; one that was never read has none.
    /// </summary>
    /// <param name="loras">The LoRAs with their paths.</param>
    public IReadOnlyList<NotedLora> Of(IReadOnlyList<LoraUse> loras) =>
        [.. loras.Select(lora => new NotedLora(Path.GetFileName(Path.TrimEndingDirectorySeparator(lora.Path)), lora.Weight, Hash(lora.Path)))];

    // The weights may be in memory already, so an unavailable file must not stop the video.
    private string? Hash(string path)
    {
        try
        {
            var place = LoraPlace.Find(path);
            var key = (path, place.Digest());
            if (!hashes.TryGetValue(key, out var hash))
                hashes[key] = hash = place.Sha256();
            return hashes[(path, null)] = hash;
        }
        catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException)
        {
            return hashes.GetValueOrDefault((path, null));
        }
    }
}
