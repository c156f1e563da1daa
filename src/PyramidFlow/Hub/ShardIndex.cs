using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub;

/// <summary>An <c>*.index.json</c>: which shard of a checkpoint holds which tensor.</summary>
internal sealed class ShardIndex
{
    private readonly string path;
    private readonly IReadOnlyDictionary<string, string> weightMap;

    private ShardIndex(string path, IReadOnlyDictionary<string, string> weightMap)
    {
        this.path = path;
        this.weightMap = weightMap;
        var folder = Path.GetDirectoryName(path)!;
        Shards = [.. weightMap.Values.Distinct().Order(StringComparer.Ordinal).Select(name => Path.Combine(folder, name))];
    }

    /// <summary>Paths of the shards, all of them there.</summary>
    internal IReadOnlyList<string> Shards { get; }

    /// <summary>Reads an index; shards lie beside it, whatever it says.</summary>
    /// <exception cref="CheckpointException">It is damaged, a shard is missing, or a name leads out of the folder.</exception>
    internal static ShardIndex Read(string path)
    {
        var map = ConfigFile.Read(path, HubJson.Default.ShardIndexJson).WeightMap;
        if (map is null || map.Count == 0)
            throw ConfigFile.Fault(path, "weight_map", "is empty; download the file again");
        foreach (var name in map.Values)
        {
            if (!IsPlainName(name))
                throw ConfigFile.Fault(path, "weight_map", $"names \"{name}\", which is not a file of this folder");
        }

        var index = new ShardIndex(path, map);
        var missing = index.Shards.Where(shard => !File.Exists(shard)).Select(Path.GetFileName).ToList();
        if (missing.Count > 0)
        {
            throw new CheckpointException(
                $"{Path.GetDirectoryName(path)} lacks {string.Join(", ", missing)}, which {Path.GetFileName(path)} names: download it");
        }

        return index;
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

    private static bool IsPlainName(string? name) =>
        !string.IsNullOrEmpty(name) && name is not ("." or "..") && name.IndexOfAny(['/', '\\', ':', '\0']) < 0;
}

/// <summary>The index as it stands in the file.</summary>
/// <param name="WeightMap">File name by tensor key.</param>
internal sealed record ShardIndexJson(Dictionary<string, string> WeightMap);
