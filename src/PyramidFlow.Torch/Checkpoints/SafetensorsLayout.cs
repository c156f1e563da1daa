using System.Buffers.Binary;
using System.Text.Json;

namespace PyramidFlow.Torch.Checkpoints;

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
