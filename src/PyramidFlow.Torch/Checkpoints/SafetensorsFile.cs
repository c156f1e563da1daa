using System.Buffers.Binary;
using System.Globalization;
using System.IO.MemoryMappedFiles;
using System.Text.Json;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>One tensor of a checkpoint file: where its bytes lie and how to read them.</summary>
/// <param name="Name">Key in the file.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Sizes, outermost first; empty for a scalar.</param>
/// <param name="Offset">First byte, from the start of the file.</param>
/// <param name="ByteLength">Number of bytes.</param>
public sealed record TensorEntry(string Name, ElementType Type, long[] Shape, long Offset, long ByteLength);

/// <summary>
/// A memory-mapped safetensors file. The header is checked whole when the file is opened: every length, offset and
/// element type, that no two tensors overlap and that nothing points outside the file. Tensor bytes are paged in by the
/// operating system when they are touched, and never copied by this class.
/// </summary>
public sealed unsafe class SafetensorsFile : IDisposable
{
    private const long MaxHeaderBytes = 100 << 20;

    private readonly MemoryMappedFile map;
    private readonly MemoryMappedViewAccessor view;
    private readonly byte* start;
    private int references = 1;
    private int disposed;

    private SafetensorsFile(string path, MemoryMappedFile map, MemoryMappedViewAccessor view, byte* start,
        Dictionary<string, TensorEntry> entries, Dictionary<string, string> metadata)
    {
        Path = path;
        this.map = map;
        this.view = view;
        this.start = start;
        Entries = entries;
        Metadata = metadata;
    }

    /// <summary>Path the file was opened from.</summary>
    public string Path { get; }

    /// <summary>All tensors by key.</summary>
    public IReadOnlyDictionary<string, TensorEntry> Entries { get; }

    /// <summary>The header's <c>__metadata__</c> strings.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Maps a file and checks its header.</summary>
    /// <exception cref="CheckpointException">The file is missing, shorter than it says, or its header is malformed.</exception>
    public static SafetensorsFile Open(string path)
    {
        long length;
        try
        {
            length = new FileInfo(path).Length;
        }
        catch (FileNotFoundException e)
        {
            throw new CheckpointException($"{path} does not exist", e);
        }

        if (length < 8)
            throw Damaged(path, $"it has only {length} bytes");

        // Private (copy-on-write) pages: a tensor over this memory can be written without touching the file.
        var map = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        var view = map.CreateViewAccessor(0, length, MemoryMappedFileAccess.CopyOnWrite);
        byte* start = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        try
        {
            var headerLength = BinaryPrimitives.ReadUInt64LittleEndian(new ReadOnlySpan<byte>(start, 8));
            if (headerLength > MaxHeaderBytes || (long)headerLength > length - 8)
                throw Damaged(path, $"its header claims {headerLength} bytes of a file of {length}");
            var (entries, metadata) = ReadHeader(path, new ReadOnlySpan<byte>(start + 8, (int)headerLength),
                8 + (long)headerLength, length);
            return new SafetensorsFile(path, map, view, start, entries, metadata);
        }
        catch
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
            view.Dispose();
            map.Dispose();
            throw;
        }
    }

    /// <summary>Address of a tensor's first byte; valid while this object is not disposed.</summary>
    public nint Address(TensorEntry entry) => (nint)(start + entry.Offset);

    /// <summary>The raw bytes of a tensor of at most 2 GB.</summary>
    public ReadOnlySpan<byte> Bytes(TensorEntry entry) => new(start + entry.Offset, checked((int)entry.ByteLength));

    /// <summary>A tensor over the file's own pages; the map stays until this object and all such tensors are gone.</summary>
    public Tensor Tensor(TensorEntry entry)
    {
        if (entry.ByteLength == 0)
            return Torch.Tensor.Empty(entry.Shape, entry.Type);
        Interlocked.Increment(ref references);
        var tensor = Torch.Tensor.FromMemory(Address(entry), entry.Shape, entry.Type, new Lease(this));
        if (Address(entry) % entry.Type.Size() == 0)
            return tensor;
        using (tensor)
            return tensor.Clone();
    }

    /// <summary>Lets the map go once no tensor uses it any more. Harmless when repeated.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref disposed, 1) == 0)
            Release();
    }

    private void Release()
    {
        if (Interlocked.Decrement(ref references) > 0)
            return;
        view.SafeMemoryMappedViewHandle.ReleasePointer();
        view.Dispose();
        map.Dispose();
    }

    private static (Dictionary<string, TensorEntry> Entries, Dictionary<string, string> Metadata) ReadHeader(
        string path, ReadOnlySpan<byte> header, long dataStart, long fileLength)
    {
        var entries = new Dictionary<string, TensorEntry>();
        var metadata = new Dictionary<string, string>();
        try
        {
            var reader = new Utf8JsonReader(header);
            using var json = JsonDocument.ParseValue(ref reader);
            foreach (var property in json.RootElement.EnumerateObject())
            {
                if (property.Name == "__metadata__")
                {
                    foreach (var pair in property.Value.EnumerateObject())
                        metadata[pair.Name] = pair.Value.GetString() ?? "";
                    continue;
                }

                if (!entries.TryAdd(property.Name, ReadEntry(path, property, dataStart, fileLength)))
                    throw Damaged(path, $"it holds the key {property.Name} twice");
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException
            or FormatException or OverflowException)
        {
            throw new CheckpointException($"{path} is not a safetensors file, or it is damaged: {e.Message}", e);
        }

        CheckNoOverlap(path, entries.Values);
        return (entries, metadata);
    }

    private static TensorEntry ReadEntry(string path, JsonProperty property, long dataStart, long fileLength)
    {
        var name = property.Name;
        var type = ParseType(property.Value.GetProperty("dtype").GetString())
            ?? throw Damaged(path, $"{name} has the unknown element type {property.Value.GetProperty("dtype")}");
        var shape = property.Value.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64()).ToArray();
        var offsets = property.Value.GetProperty("data_offsets");
        if (offsets.GetArrayLength() != 2)
            throw Damaged(path, $"{name} does not have two data offsets");
        long begin = offsets[0].GetInt64(), end = offsets[1].GetInt64();
        if (begin < 0 || end < begin || end > fileLength - dataStart)
            throw Damaged(path, $"{name} lies at bytes {begin} to {end} of {fileLength - dataStart}; the file may be cut off");
        long elements = 1;
        foreach (var size in shape)
        {
            if (size < 0)
                throw Damaged(path, $"{name} has the negative size {size}");
            elements = checked(elements * size);
        }

        if (checked(elements * type.Size()) != end - begin)
        {
            throw Damaged(path, string.Create(CultureInfo.InvariantCulture,
                $"{name} [{string.Join(", ", shape)}] does not fill its {end - begin} bytes"));
        }

        return new TensorEntry(name, type, shape, dataStart + begin, end - begin);
    }

    private static void CheckNoOverlap(string path, IEnumerable<TensorEntry> entries)
    {
        TensorEntry? before = null;
        foreach (var entry in entries.Where(e => e.ByteLength > 0).OrderBy(e => e.Offset))
        {
            if (before is not null && entry.Offset < before.Offset + before.ByteLength)
                throw Damaged(path, $"{before.Name} and {entry.Name} overlap");
            before = entry;
        }
    }

    private static ElementType? ParseType(string? name) => name switch
    {
        "F64" => ElementType.Float64,
        "F32" => ElementType.Float32,
        "F16" => ElementType.Float16,
        "BF16" => ElementType.BFloat16,
        "I64" => ElementType.Int64,
        "I32" => ElementType.Int32,
        "I16" => ElementType.Int16,
        "I8" => ElementType.Int8,
        "U8" => ElementType.UInt8,
        "BOOL" => ElementType.Bool,
        _ => null,
    };

    private static CheckpointException Damaged(string path, string fault) =>
        new($"{path} is damaged: {fault}; download or write it again");

    private sealed class Lease(SafetensorsFile file) : IDisposable
    {
        public void Dispose() => file.Release();
    }
}
