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
