using System.Buffers.Binary;
using System.Text.Json;

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
        CheckKeys(list.Select(pair => pair.Key));
        var partial = $"{path}.partial-{Environment.ProcessId}";
        try
        {
            using (var stream = new FileStream(partial, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20))
            {
                WriteHeader(stream, list, metadata);
                foreach (var (_, tensor) in list)
                    WriteData(stream, tensor);
                stream.Flush(flushToDisk: true);
            }

            File.Move(partial, path, overwrite: true);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }

    private static void CheckKeys(IEnumerable<string> keys)
    {
        var seen = new HashSet<string> { "__metadata__" };
        foreach (var key in keys)
        {
            if (!seen.Add(key))
                throw new ArgumentException($"a safetensors file cannot hold the key {key} twice, nor the key __metadata__", nameof(keys));
        }
    }

    private static void WriteHeader(Stream stream, List<(string Key, Tensor Tensor)> list, IReadOnlyDictionary<string, string>? metadata)
    {
        var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
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
            foreach (var (key, tensor) in list)
            {
                var end = offset + (tensor.ElementCount * tensor.Type.Size());
                json.WriteStartObject(key);
                json.WriteString("dtype", Name(tensor.Type));
                json.WriteStartArray("shape");
                foreach (var size in tensor.Shape)
                    json.WriteNumberValue(size);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(end);
                json.WriteEndArray();
                json.WriteEndObject();
                offset = end;
            }

            json.WriteEndObject();
        }

        // Padded with spaces so that the data, and so every tensor of a memory map, begins aligned.
        const int alignment = 64;
        var padding = (alignment - ((8 + buffer.Length) % alignment)) % alignment;
        buffer.Write(new string(' ', (int)padding).Select(c => (byte)c).ToArray());
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, buffer.Length);
        stream.Write(length);
        buffer.Position = 0;
        buffer.CopyTo(stream);
    }

    private static void WriteData(Stream stream, Tensor tensor)
    {
        using var scope = new TensorScope();
        const int elements = 1 << 20;
        var flat = tensor.Detached().To(Device.Cpu).Contiguous().Reshape(-1);
        for (long start = 0; start < flat.ElementCount; start += elements)
            stream.Write(flat.Narrow(0, start, Math.Min(elements, flat.ElementCount - start)).RawBytes());
    }

    private static string Name(ElementType type) => type switch
    {
        ElementType.Float64 => "F64",
        ElementType.Float32 => "F32",
        ElementType.Float16 => "F16",
        ElementType.BFloat16 => "BF16",
        ElementType.Int64 => "I64",
        ElementType.Int32 => "I32",
        ElementType.Int16 => "I16",
        ElementType.Int8 => "I8",
        ElementType.UInt8 => "U8",
        ElementType.Bool => "BOOL",
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "safetensors has no such element type"),
    };
}
