using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Writes safetensors files: to a temporary name beside the target, renamed when whole.</summary>
public static class SafetensorsWriter
{
    /// <summary>Writes tensors in the order given.</summary>
    /// <param name="path">Target; replaced if it exists.</param>
    /// <param name="tensors">Keys and tensors, of any device and layout.</param>
    /// <param name="metadata">Strings for the header's <c>__metadata__</c>.</param>
    /// <exception cref="ArgumentException">A key comes twice or is the reserved <c>__metadata__</c>; nothing is written.</exception>
    public static void Write(string path, IEnumerable<(string Key, Tensor Tensor)> tensors,
        IReadOnlyDictionary<string, string>? metadata = null)
    {
        var list = tensors.ToList();
        var index = 0;
        Write(path, [.. list.Select(pair => new TensorDeclaration(pair.Key, pair.Tensor.Type, pair.Tensor.Shape))],
            (file, entry) => WriteData(file, entry, list[index++].Tensor), metadata);
    }

    /// <summary>Writes tensors that need never be in memory together.</summary>
    /// <param name="path">Target; replaced if it exists.</param>
    /// <param name="tensors">What is to be written.</param>
    /// <param name="fill">Called for each in turn: writes its bytes at its offset, by whatever number of threads.</param>
    /// <param name="metadata">Strings for the header's <c>__metadata__</c>.</param>
    /// <exception cref="ArgumentException">A key comes twice or is the reserved <c>__metadata__</c>; nothing is written.</exception>
    public static void Write(string path, IReadOnlyList<TensorDeclaration> tensors, Action<SafeFileHandle, TensorEntry> fill,
        IReadOnlyDictionary<string, string>? metadata = null)
    {
        var layout = SafetensorsLayout.Of(tensors, metadata);
        var partial = $"{path}.partial-{Environment.ProcessId}";
        try
        {
            using (var file = File.OpenHandle(partial, FileMode.Create, FileAccess.Write, FileShare.None))
            {
                RandomAccess.SetLength(file, layout.Length);
                RandomAccess.Write(file, layout.Header, 0);
                foreach (var entry in layout.Entries)
                    fill(file, entry);
                RandomAccess.FlushToDisk(file);
            }

            File.Move(partial, path, overwrite: true);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }

    /// <summary>Writes a tensor's bytes in small pieces, so that converting a large one takes little memory.</summary>
    /// <param name="file">The file.</param>
    /// <param name="entry">Where in it and of which type; of the tensor's number of elements.</param>
    /// <param name="tensor">Of any device and layout.</param>
    public static void WriteData(SafeFileHandle file, TensorEntry entry, Tensor tensor)
    {
        using var scope = new TensorScope();
        const int elements = 1 << 20;
        var flat = tensor.Detach().To(Device.Cpu).Contiguous().Reshape(-1);
        var offset = entry.Offset;
        for (long start = 0; start < flat.ElementCount; start += elements)
        {
            using var inner = new TensorScope();
            var bytes = flat.Narrow(0, start, Math.Min(elements, flat.ElementCount - start)).To(entry.Type).RawBytes();
            RandomAccess.Write(file, bytes, offset);
            offset += bytes.Length;
        }
    }
}

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

/// <summary>Where everything lies in a safetensors file that is yet to be written.</summary>
internal sealed class SafetensorsLayout
{
    // So that the data, and so every tensor of a memory map, begins aligned.
    private const int Alignment = 64;

    private SafetensorsLayout(byte[] header, IReadOnlyList<TensorEntry> entries)
    {
        (Header, Entries) = (header, entries);
        Length = entries.Count > 0 ? entries[^1].Offset + entries[^1].ByteLength : header.Length;
    }

    /// <summary>The file's first bytes, up to the first tensor.</summary>
    internal byte[] Header { get; }

    /// <summary>The tensors, in the order given.</summary>
    internal IReadOnlyList<TensorEntry> Entries { get; }

    /// <summary>Bytes of the whole file.</summary>
    internal long Length { get; }

    /// <summary>Lays tensors out one after another.</summary>
    /// <exception cref="ArgumentException">A key comes twice or is the reserved <c>__metadata__</c>.</exception>
    internal static SafetensorsLayout Of(IReadOnlyList<TensorDeclaration> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        CheckKeys(tensors);
        using var buffer = new MemoryStream();
        buffer.SetLength(8);
        buffer.Position = 8;
        using (var json = new Utf8JsonWriter(buffer))
            WriteJson(json, tensors, metadata);
        while (buffer.Length % Alignment != 0)
            buffer.WriteByte((byte)' ');
        var header = buffer.ToArray();
        BinaryPrimitives.WriteInt64LittleEndian(header, header.Length - 8);
        long offset = header.Length;
        var entries = new List<TensorEntry>(tensors.Count);
        foreach (var tensor in tensors)
        {
            entries.Add(new TensorEntry(tensor.Key, tensor.Type, tensor.Shape, offset, tensor.ByteLength));
            offset += tensor.ByteLength;
        }

        return new SafetensorsLayout(header, entries);
    }

    private static void CheckKeys(IEnumerable<TensorDeclaration> tensors)
    {
        var seen = new HashSet<string> { "__metadata__" };
        foreach (var tensor in tensors)
        {
            if (!seen.Add(tensor.Key))
                throw new ArgumentException($"a safetensors file cannot hold the key {tensor.Key} twice, nor the key __metadata__", nameof(tensors));
        }
    }

    private static void WriteJson(Utf8JsonWriter json, IReadOnlyList<TensorDeclaration> tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        json.WriteStartObject();
        if (metadata is { Count: > 0 })
        {
            json.WriteStartObject("__metadata__");
            foreach (var (key, value) in metadata)
                json.WriteString(key, value);
            json.WriteEndObject();
        }

        long offset = 0;
        foreach (var tensor in tensors)
        {
            json.WriteStartObject(tensor.Key);
            json.WriteString("dtype", SafetensorsTypes.Name(tensor.Type));
            json.WriteStartArray("shape");
            foreach (var size in tensor.Shape)
                json.WriteNumberValue(size);
            json.WriteEndArray();
            json.WriteStartArray("data_offsets");
            json.WriteNumberValue(offset);
            json.WriteNumberValue(offset += tensor.ByteLength);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }
}
