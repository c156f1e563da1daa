using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub;

/// <summary>Finds and opens the weights in a component's folder.</summary>
public static class WeightsFile
{
    // As diffusers and transformers name them; a folder may hold other precisions or formats beside them.
    private static readonly string[] Names = ["diffusion_pytorch_model", "model", "pytorch_model"];

    /// <summary>
    /// Opens a folder's weights: safetensors, one file or shards with an index, before <c>.bin</c>. Nothing is read but the
    /// headers.
    /// </summary>
    /// <param name="folder">Folder of one component.</param>
    /// <returns>All tensors; the caller disposes it once the model is loaded.</returns>
    /// <exception cref="CheckpointException">There are no weights, a shard is missing, or a file is damaged or cut off.</exception>
    public static StateSource Open(string folder)
    {
        if (!Directory.Exists(folder))
            throw new CheckpointException($"{folder} does not exist: download the checkpoint again, this folder is part of it");
        return Find(folder, ".safetensors", OpenSafetensors)
            ?? Find(folder, ".bin", OpenArchives)
            ?? throw new CheckpointException(
                $"{folder} holds no weights: it needs {Names[0]}.safetensors, {Names[1]}.safetensors or shards with their index");
    }

    private static StateSource? Find(string folder, string extension, Func<string, IReadOnlyList<string>, StateSource> open)
    {
        foreach (var name in Names)
        {
            var single = Path.Combine(folder, name + extension);
            if (File.Exists(single))
                return open(single, [single]);
            if (File.Exists($"{single}.index.json"))
                return OpenShards(folder, $"{single}.index.json", open);
        }

        var others = Directory.GetFiles(folder, "*" + extension);
        return others.Length switch
        {
            0 => null,
            1 => open(others[0], others),
            _ => throw new CheckpointException(
                $"{folder} holds several weights ({string.Join(", ", others.Select(Path.GetFileName).Order(StringComparer.Ordinal))}): rename the one to use to {Names[1]}{extension}"),
        };
    }

    private static StateSource OpenShards(string folder, string indexFile, Func<string, IReadOnlyList<string>, StateSource> open)
    {
        var index = ShardIndex.Read(indexFile);
        var source = open(folder, index.Shards);
        try
        {
            index.Check(source);
            return source;
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    private static SafetensorsSource OpenSafetensors(string name, IReadOnlyList<string> paths)
    {
        foreach (var path in paths)
            RequireData(path);
        return new SafetensorsSource(name, paths);
    }

    private static StateSource OpenArchives(string name, IReadOnlyList<string> paths) =>
        throw new CheckpointException($"{name} holds only .bin weights ({Path.GetFileName(paths[0])}): convert them to safetensors");

    // What git leaves in the place of a large file when git-lfs is not installed.
    private static void RequireData(string path)
    {
        var pointer = "version https://git-lfs"u8;
        Span<byte> start = stackalloc byte[pointer.Length];
        using var file = File.OpenRead(path);
        if (file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) == start.Length && start.SequenceEqual(pointer))
            throw new CheckpointException($"{path} is only a git-lfs pointer, not the weights: run git lfs pull in that folder");
    }
}
