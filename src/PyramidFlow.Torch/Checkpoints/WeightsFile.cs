using System.Text.RegularExpressions;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Finds and opens the weights in the folder of a component, as diffusers and transformers lay it out.</summary>
public static class WeightsFile
{
    private const string Safetensors = ".safetensors";

    private static readonly string[] Stems = ["diffusion_pytorch_model", "model", "pytorch_model"];
    private static readonly string[] Formats = [Safetensors, ".bin"];
    private static readonly string[] Variants = ["bf16", "fp16"];
    private static readonly string[] ArchiveFormats = [".bin", ".pt", ".pth"];

    /// <summary>
    /// Opens a folder's weights, or one file. Only headers are read. In a folder the first of these is taken:
    /// <c>diffusion_pytorch_model</c>, <c>model</c> or <c>pytorch_model</c>, whole or in shards with their
    /// <c>.index.json</c>; safetensors before <c>.bin</c>; full precision before a <c>bf16</c> or <c>fp16</c> variant; else
    /// the only safetensors file there, else the only archive (a <c>.pt</c> of a training run), whatever its name.
    /// </summary>
    /// <param name="path">Folder of one component, or a <c>.safetensors</c>, <c>.bin</c>, <c>.pt</c> or <c>.pth</c> file.</param>
    /// <returns>All tensors; the caller disposes it once the model is loaded.</returns>
    /// <exception cref="CheckpointException">
    /// There are no weights, a shard is missing or outside the folder, or a file is damaged; the message names what was
    /// looked for.
    /// </exception>
    public static StateSource Open(string path)
    {
        if (File.Exists(path))
            return OpenFile(path);
        if (!Directory.Exists(path))
            throw new CheckpointException($"{path} does not exist: download the checkpoint again, this folder is part of it");
        var folder = new ConfinedFolder(path);
        return OpenNamed(folder)
            ?? OpenOnly(folder)
            ?? throw new CheckpointException($"{path} holds no weights: it needs one of "
                + string.Join(", ", Formats.SelectMany(format => Stems.Select(stem => stem + format))) + ", or shards with their .index.json");
    }

    /// <summary>Which files of a folder <see cref="Open"/> would read, told from their names alone.</summary>
    /// <param name="names">Names of all files of one component.</param>
    /// <returns>The weights, with all shards and their index; empty when there are none to choose.</returns>
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
            _ => throw new CheckpointException(
                $"{folder.Path} holds several weights ({string.Join(", ", names)}): rename the one to use to {(formats.Contains(Safetensors) ? "model" + Safetensors : "pytorch_model.bin")}"),
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
        return extension == Safetensors ? new SafetensorsSource(path)
            : ArchiveFormats.Contains(extension) ? TorchArchive.Open(path)
            : throw new CheckpointException(
                $"{path} is not a weights file: use {Safetensors}, {string.Join(", ", ArchiveFormats)}, or the folder around it");
    }
}
