using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Writes safetensors files: to a temporary file beside the target, which is renamed when it is complete.</summary>
public static class SafetensorsWriter
{
    /// <summary>Writes tensors in the given order.</summary>
    /// <param name="path">Target file; replaced if it exists.</param>
    /// <param name="tensors">Keys and tensors on any device, in any layout.</param>
    /// <param name="metadata">Strings for <c>__metadata__</c> of the header.</param>
    /// <exception cref="ArgumentException">A key is repeated or is the reserved <c>__metadata__</c>; nothing is written.</exception>
    public static void Write(string path, IEnumerable<(string Key, Tensor Tensor)> tensors,
        IReadOnlyDictionary<string, string>? metadata = null)
    {
        var list = tensors.ToList();
        var index = 0;
        Write(path, [.. list.Select(pair => new TensorDeclaration(pair.Key, pair.Tensor.Type, pair.Tensor.Shape))],
            (file, entry) => WriteData(file, entry, list[index++].Tensor), metadata);
    }

    /// <summary>Writes tensors one at a time, so that they need not be in memory together.</summary>
    /// <param name="path">Target file; replaced if it exists.</param>
    /// <param name="tensors">Tensors to write.</param>
    /// <param name="fill">Called for each tensor in order; writes its bytes at its offset, with any number of threads.</param>
    /// <param name="metadata">Strings for <c>__metadata__</c> of the header.</param>
    /// <exception cref="ArgumentException">A key is repeated or is the reserved <c>__metadata__</c>; nothing is written.</exception>
    public static void Write(string path, IReadOnlyList<TensorDeclaration> tensors, Action<SafeFileHandle, TensorEntry> fill,
        IReadOnlyDictionary<string, string>? metadata = null)
    {
        var layout = SafetensorsLayout.Create(tensors, metadata);
        // Every process of a container may have the number 1.
        var partial = $"{path}.partial-{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..8]}";
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

    /// <summary>Writes the bytes of a tensor in small pieces, so that the conversion of a large tensor takes little memory.</summary>
    /// <param name="file">Handle of the file.</param>
    /// <param name="entry">Offset and type in the file; has as many elements as the tensor.</param>
    /// <param name="tensor">A tensor on any device, in any layout.</param>
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

/// <summary>Writes weights in the layout of the released checkpoints: one safetensors file, or shards with an index.</summary>
public static class ShardedWriter
{
    /// <summary>Writes the weights of a component. The index comes last: without it shards are not read.</summary>
    /// <param name="folder">Folder of the component.</param>
    /// <param name="stem"><c>diffusion_pytorch_model</c> or <c>model</c>.</param>
    /// <param name="tensors">Tensors to write.</param>
    /// <param name="shardBytes">Maximum bytes of tensors in one file; a larger tensor gets its own file.</param>
    /// <param name="fill">As for <see cref="SafetensorsWriter.Write(string, IReadOnlyList{TensorDeclaration}, Action{SafeFileHandle, TensorEntry}, IReadOnlyDictionary{string, string})"/>.</param>
    /// <returns>Names of the written files.</returns>
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

    private static string Index(List<string> names, List<List<TensorDeclaration>> shards) => ReadableJson.Write(indented: true, write: json =>
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
    });
}

/// <summary>Header and offsets of a safetensors file that is to be written.</summary>
internal sealed class SafetensorsLayout
{
    // The data starts aligned, so that tensors over a memory map are aligned as well.
    private const int Alignment = 64;

    private SafetensorsLayout(byte[] header, IReadOnlyList<TensorEntry> entries)
    {
        (Header, Entries) = (header, entries);
        Length = entries.Count > 0 ? entries[^1].Offset + entries[^1].ByteLength : header.Length;
    }

    /// <summary>The bytes before the first tensor.</summary>
    internal byte[] Header { get; }

    /// <summary>The tensors, in the given order.</summary>
    internal IReadOnlyList<TensorEntry> Entries { get; }

    /// <summary>Size of the file in bytes.</summary>
    internal long Length { get; }

    /// <summary>Lays out tensors one after another.</summary>
    /// <exception cref="ArgumentException">A key is repeated or is the reserved <c>__metadata__</c>.</exception>
    internal static SafetensorsLayout Create(IReadOnlyList<TensorDeclaration> tensors, IReadOnlyDictionary<string, string>? metadata)
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
