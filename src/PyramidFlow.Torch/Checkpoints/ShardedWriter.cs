using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Writes weights as the released checkpoints hold them: one safetensors file, or shards with an index.</summary>
public static class ShardedWriter
{
    /// <summary>Writes a component's weights; the index, without which shards are not read, comes last.</summary>
    /// <param name="folder">The component's folder.</param>
    /// <param name="stem"><c>diffusion_pytorch_model</c> or <c>model</c>.</param>
    /// <param name="tensors">What is to be written.</param>
    /// <param name="shardBytes">Most bytes of tensors in one file; a larger tensor has a file to itself.</param>
    /// <param name="fill">As in <see cref="SafetensorsWriter.Write(string, IReadOnlyList{TensorDeclaration}, Action{SafeFileHandle, TensorEntry}, IReadOnlyDictionary{string, string})"/>.</param>
    /// <returns>Names of the files.</returns>
    public static IReadOnlyList<string> Write(string folder, string stem, IReadOnlyList<TensorDeclaration> tensors, long shardBytes,
        Action<SafeFileHandle, TensorEntry> fill)
    {
        var metadata = new Dictionary<string, string> { ["format"] = "pt" };
        var shards = Split(tensors, shardBytes);
        if (shards.Count == 1)
        {
            var only = stem + ".safetensors";
            SafetensorsWriter.Write(Path.Combine(folder, only), tensors, fill, metadata);
            return [only];
        }

        var names = shards.Select((_, i) => string.Create(CultureInfo.InvariantCulture, $"{stem}-{i + 1:D5}-of-{shards.Count:D5}.safetensors")).ToList();
        foreach (var (name, shard) in names.Zip(shards))
            SafetensorsWriter.Write(Path.Combine(folder, name), shard, fill, metadata);
        var index = $"{stem}.safetensors.index.json";
        File.WriteAllText(Path.Combine(folder, index), Index(names, shards));
        return [.. names, index];
    }

    private static List<List<TensorDeclaration>> Split(IReadOnlyList<TensorDeclaration> tensors, long shardBytes)
    {
        var shards = new List<List<TensorDeclaration>> { new() };
        long bytes = 0;
        foreach (var tensor in tensors)
        {
            if (shards[^1].Count > 0 && bytes + tensor.ByteLength > shardBytes)
            {
                shards.Add([]);
                bytes = 0;
            }

            shards[^1].Add(tensor);
            bytes += tensor.ByteLength;
        }

        return shards;
    }

    private static string Index(List<string> names, List<List<TensorDeclaration>> shards)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata");
            json.WriteNumber("total_size", shards.Sum(shard => shard.Sum(tensor => tensor.ByteLength)));
            json.WriteEndObject();
            json.WriteStartObject("weight_map");
            foreach (var (name, shard) in names.Zip(shards))
            {
                foreach (var tensor in shard)
                    json.WriteString(tensor.Key, name);
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }
}
