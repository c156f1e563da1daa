using System.Text.Json;
using System.Text.RegularExpressions;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Finds and opens the weights in a component folder with the layout of diffusers and transformers.</summary>
public static class WeightsFile
{
    private const string Safetensors = ".safetensors";

    private static readonly string[] Stems = ["diffusion_pytorch_model", "model", "pytorch_model"];
    private static readonly string[] Formats = [Safetensors, ".bin"];
    private static readonly string[] Variants = ["bf16", "fp16"];
    private static readonly string[] ArchiveFormats = [".bin", ".pt", ".pth"];

    /// <summary>
    /// Opens the weights of a folder, or one file; reads only headers. Order of preference in a folder:
    /// <c>diffusion_pytorch_model</c>, <c>model</c> or <c>pytorch_model</c>, whole or in shards with their
    /// <c>.index.json</c>; safetensors before <c>.bin</c>; full precision before a <c>bf16</c> or <c>fp16</c> variant; then
    /// a single safetensors file of any name; then a single archive of any name, such as a <c>.pt</c> of a training run.
    /// </summary>
    /// <param name="path">Folder of one component, or a <c>.safetensors</c>, <c>.bin</c>, <c>.pt</c> or <c>.pth</c> file.</param>
    /// <returns>All tensors; the caller disposes the source.</returns>
    /// <exception cref="CheckpointException">
    /// There are no weights, a shard is missing or outside the folder, or a file is damaged; the message names the expected
    /// files.
    /// </exception>
    public static StateSource Open(string path)
    {
        if (File.Exists(path))
            return OpenFile(path);
        if (!Directory.Exists(path))
            throw CheckpointFault.WeightsMissing(path);
        var folder = new ConfinedFolder(path);
        return OpenNamed(folder)
            ?? OpenOnly(folder)
            ?? throw CheckpointFault.NoWeights(path, Formats.SelectMany(format => Stems.Select(stem => stem + format)));
    }

    /// <summary>Selects the files that <see cref="Open"/> would read, from their names alone.</summary>
    /// <param name="names">Names of all files of one component.</param>
    /// <returns>The weights, with all shards and their index; empty if there is no choice.</returns>
    public static IReadOnlyList<string> Choose(IReadOnlyCollection<string> names)
    {
        foreach (var (single, index, shards) in Named())
        {
            if (names.Contains(single))
                return [single];
            if (names.Contains(index))
                return [.. names.Where(name => shards.IsMatch(name)).Append(index)];
        }

        var others = ((string[][])[[Safetensors], ArchiveFormats])
            .Select(formats => names.Where(name => formats.Contains(Path.GetExtension(name).ToLowerInvariant())).ToList())
            .FirstOrDefault(found => found.Count > 0);
        return others is { Count: 1 } ? others : [];
    }

    private static StateSource? OpenNamed(ConfinedFolder folder)
    {
        foreach (var (single, index, _) in Named())
        {
            if (folder.Find(single) is { } whole)
                return OpenFile(whole);
            if (folder.Find(index) is { } list)
                return OpenShards(folder, list);
        }

        return null;
    }

    private static IEnumerable<(string Single, string Index, Regex Shards)> Named() =>
        from variant in Variants.Prepend("")
        let part = variant.Length == 0 ? "" : "." + variant
        from format in Formats
        from stem in Stems
        select ($"{stem}{part}{format}", $"{stem}{format}.index{part}.json", new Regex($@"\A{stem}{Regex.Escape(part)}-\d+-of-\d+{Regex.Escape(format)}\z"));

    private static StateSource? OpenOnly(ConfinedFolder folder) => OpenOnly(folder, Safetensors) ?? OpenOnly(folder, ArchiveFormats);

    private static StateSource? OpenOnly(ConfinedFolder folder, params string[] formats)
    {
        var names = Directory.GetFiles(folder.Path).Where(file => formats.Contains(Path.GetExtension(file).ToLowerInvariant()))
            .Select(file => Path.GetFileName(file)!).Order(StringComparer.Ordinal).ToList();
        return names.Count switch
        {
            0 => null,
            1 => folder.Find(names[0]) is { } only ? OpenFile(only) : null,
            _ => throw CheckpointFault.SeveralWeights(folder.Path, names, formats.Contains(Safetensors) ? "model" + Safetensors : "pytorch_model.bin"),
        };
    }

    private static StateSource OpenShards(ConfinedFolder folder, string indexPath)
    {
        var index = ShardIndex.Read(indexPath, folder);
        var shards = new List<StateSource>();
        try
        {
            foreach (var shard in index.Shards)
                shards.Add(OpenFile(shard));
            var source = new ShardedSource(indexPath, shards);
            index.Check(source);
            return source;
        }
        catch
        {
            shards.ForEach(shard => shard.Dispose());
            throw;
        }
    }

    private static StateSource OpenFile(string path)
    {
        var extension = Path.GetExtension(path).ToLowerInvariant();
        return extension == Safetensors ? SafetensorsFile.Open(path)
            : ArchiveFormats.Contains(extension) ? TorchArchive.Open(path)
            : throw CheckpointFault.NotWeights(path, [Safetensors, .. ArchiveFormats]);
    }
}

/// <summary>An <c>*.index.json</c>, which maps the tensors of a checkpoint to its shards.</summary>
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
            throw CheckpointFault.ShardsMissing(folder.Path, missing, Path.GetFileName(path));
        Shards = [.. names.Select(name => found[name]!)];
    }

    /// <summary>Paths of the shards; all exist.</summary>
    internal IReadOnlyList<string> Shards { get; }

    /// <summary>Reads an index; all shards must lie in its folder.</summary>
    /// <exception cref="CheckpointException">The index is damaged, a shard is missing, or a name leads out of the folder.</exception>
    internal static ShardIndex Read(string path, ConfinedFolder folder)
    {
        var map = ReadMap(path);
        return map.Values.FirstOrDefault(name => !ConfinedFolder.IsPlainName(name)) is { } name
            ? throw CheckpointFault.UnsafeShardName(path, name)
            : new ShardIndex(path, folder, map);
    }

    /// <summary>Checks that the opened shards hold every tensor of the index.</summary>
    internal void Check(StateSource source)
    {
        var held = source.Keys.ToHashSet();
        var lost = weightMap.Where(pair => !held.Contains(pair.Key)).ToList();
        if (lost.Count > 0)
            throw CheckpointFault.ShardLacksKey(lost[0].Value, lost[0].Key, path, lost.Count);
    }

    private static Dictionary<string, string> ReadMap(string path)
    {
        try
        {
            using var json = StrictJson.Parse(StrictText.ReadBytes(path, MaxBytes), new StrictJsonOptions(RepeatedKeys: true));
            if (json.RootElement.ValueKind != JsonValueKind.Object || !json.RootElement.TryGetProperty("weight_map", out var entries)
                || entries.ValueKind != JsonValueKind.Object)
            {
                throw CheckpointFault.IndexWithoutMap(path);
            }

            var map = new Dictionary<string, string>();
            foreach (var entry in entries.EnumerateObject())
            {
                map[entry.Name] = entry.Value.ValueKind is JsonValueKind.String or JsonValueKind.Null
                    ? entry.Value.GetString() ?? ""
                    : throw CheckpointFault.IndexValueInvalid(path, entry.Name);
            }

            return map.Count > 0 ? map : throw CheckpointFault.IndexEmpty(path);
        }
        catch (MalformedTextException e)
        {
            throw CheckpointFault.IndexMalformed(path, e.Message, e);
        }
    }
}

/// <summary>The union of several checkpoints, which it owns; a key in two of them is an error.</summary>
internal sealed class ShardedSource : StateSource
{
    private readonly IReadOnlyList<StateSource> shards;
    private readonly Dictionary<string, StateSource> owners = [];

    internal ShardedSource(string name, IReadOnlyList<StateSource> shards)
    {
        Name = name;
        this.shards = shards;
        foreach (var shard in shards)
        {
            foreach (var key in shard.Keys)
            {
                if (!owners.TryAdd(key, shard))
                    throw CheckpointFault.KeyInTwoShards(shard.Name, key, name);
            }
        }
    }

    public override string Name { get; }

    public override IReadOnlyCollection<string> Keys => owners.Keys;

    public override (long[] Shape, ElementType Type) Describe(string key) => owners[key].Describe(key);

    public override string FileOf(string key) => owners[key].FileOf(key);

    public override Tensor Read(string key) => owners[key].Read(key);

    public override void Prefetch(string key) => owners[key].Prefetch(key);

    public override void Drop(string key) => owners[key].Drop(key);

    public override void Dispose()
    {
        foreach (var shard in shards)
            shard.Dispose();
        base.Dispose();
    }
}

/// <summary>
/// A folder that file names from a checkpoint cannot escape, not even by a link. One exception: the Hugging Face cache keeps
/// <c>snapshots/REVISION/...</c> as links into the <c>blobs</c> folder beside <c>snapshots</c>.
/// </summary>
internal sealed class ConfinedFolder
{
    private const int MaxLinks = 40;

    private readonly string root;
    private readonly string? blobs;

    internal ConfinedFolder(string path)
    {
        Path = path;
        root = Real(System.IO.Path.GetFullPath(path), MaxLinks);
        var parts = root.Split(System.IO.Path.DirectorySeparatorChar);
        var snapshots = Array.LastIndexOf(parts, "snapshots");
        if (snapshots > 0)
            blobs = string.Join(System.IO.Path.DirectorySeparatorChar, parts[..snapshots]) + System.IO.Path.DirectorySeparatorChar + "blobs";
    }

    internal string Path { get; }

    /// <summary>Whether a name is a plain file name without a path.</summary>
    internal static bool IsPlainName(string? name) =>
        !string.IsNullOrEmpty(name) && name is not ("." or "..") && name.IndexOfAny(['/', '\\', ':', '\0']) < 0;

    /// <summary>The path of an existing file, or null.</summary>
    /// <exception cref="CheckpointException">The file is a link that leads out of the folder.</exception>
    internal string? Find(string name)
    {
        var path = System.IO.Path.Combine(Path, name);
        if (!File.Exists(path))
            return null;
        var real = Real(System.IO.Path.Combine(root, name), MaxLinks);
        return IsInside(real, root) || (blobs is not null && IsInside(real, blobs)) ? path
            : throw CheckpointFault.LinkOutside(path, real);
    }

    private static bool IsInside(string path, string folder) =>
        path.StartsWith(folder.TrimEnd(System.IO.Path.DirectorySeparatorChar) + System.IO.Path.DirectorySeparatorChar, StringComparison.Ordinal);

    // Resolves every link in the path.
    private static string Real(string path, int linksLeft)
    {
        if (System.IO.Path.GetDirectoryName(path) is not { } parent)
            return path;
        var here = System.IO.Path.Combine(Real(parent, linksLeft), System.IO.Path.GetFileName(path));
        if (new FileInfo(here).LinkTarget is not { } target)
            return here;
        if (linksLeft == 0)
            throw CheckpointFault.LinkLoop(path);
        return Real(System.IO.Path.GetFullPath(target, System.IO.Path.GetDirectoryName(here)!), linksLeft - 1);
    }
}
