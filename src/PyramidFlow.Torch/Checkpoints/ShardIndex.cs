using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>An <c>*.index.json</c>: which shard of a checkpoint holds which tensor.</summary>
internal sealed class ShardIndex
{
    private const long MaxBytes = 16 << 20;

    private readonly string path;
    private readonly Dictionary<string, string> weightMap;

    private ShardIndex(string path, ConfinedFolder folder, Dictionary<string, string> weightMap)
    {
        this.path = path;
        this.weightMap = weightMap;
        var names = weightMap.Values.Distinct().Order(StringComparer.Ordinal).ToList();
        var found = names.ToDictionary(name => name, folder.Find);
        var missing = names.Where(name => found[name] is null).ToList();
        if (missing.Count > 0)
            throw new CheckpointException($"{folder.Path} lacks {string.Join(", ", missing)}, which {Path.GetFileName(path)} names: download it");
        Shards = [.. names.Select(name => found[name]!)];
    }

    /// <summary>Paths of the shards, all of them there.</summary>
    internal IReadOnlyList<string> Shards { get; }

    /// <summary>Reads an index; shards lie beside it, whatever it says.</summary>
    /// <exception cref="CheckpointException">It is damaged, a shard is missing, or a name leads out of the folder.</exception>
    internal static ShardIndex Read(string path, ConfinedFolder folder)
    {
        var map = ReadMap(path);
        return map.Values.FirstOrDefault(name => !ConfinedFolder.IsPlainName(name)) is { } name
            ? throw Fault(path, $"weight_map names \"{name}\", which is not a file of this folder")
            : new ShardIndex(path, folder, map);
    }

    /// <summary>Fails unless the opened shards hold every tensor of the index.</summary>
    internal void Check(StateSource source)
    {
        var held = source.Keys.ToHashSet();
        var lost = weightMap.Where(pair => !held.Contains(pair.Key)).ToList();
        if (lost.Count > 0)
        {
            throw new CheckpointException(
                $"{lost[0].Value} lacks {lost[0].Key}, which {path} says it holds ({lost.Count} such): download the shards and the index again, from one place");
        }
    }

    private static Dictionary<string, string> ReadMap(string path)
    {
        try
        {
            using var json = StrictJson.Parse(StrictText.ReadBytes(path, MaxBytes), new StrictJsonOptions(RepeatedKeys: true));
            if (json.RootElement.ValueKind != JsonValueKind.Object || !json.RootElement.TryGetProperty("weight_map", out var entries)
                || entries.ValueKind != JsonValueKind.Object)
            {
                throw Fault(path, "it lacks weight_map; download it again");
            }

            var map = new Dictionary<string, string>();
            foreach (var entry in entries.EnumerateObject())
            {
                map[entry.Name] = entry.Value.ValueKind is JsonValueKind.String or JsonValueKind.Null
                    ? entry.Value.GetString() ?? ""
                    : throw Fault(path, $"weight_map.{entry.Name} has a value of the wrong kind; download it again");
            }

            return map.Count > 0 ? map : throw Fault(path, "weight_map is empty; download it again");
        }
        catch (MalformedTextException e)
        {
            throw Fault(path, $"{e.Message}; download it again", e);
        }
    }

    private static CheckpointException Fault(string path, string fault, Exception? inner = null) => new($"{path}: {fault}", inner);
}
