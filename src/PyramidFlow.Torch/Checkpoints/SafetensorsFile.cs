using System.Buffers.Binary;
using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>A tensor of a checkpoint file: its type, its shape and the place of its bytes.</summary>
/// <param name="Name">Key in the file.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Sizes, outermost first; empty for a scalar.</param>
/// <param name="Offset">Offset of its first byte in the file.</param>
/// <param name="ByteLength">Number of bytes.</param>
public sealed record TensorEntry(string Name, ElementType Type, long[] Shape, long Offset, long ByteLength);

/// <summary>
/// A memory-mapped safetensors file. <see cref="Open"/> checks the whole header: every length, offset and element type, that
/// no two tensors overlap and that none reaches beyond the end of the file. The operating system pages tensor bytes in when
/// they are touched; this class copies none.
/// </summary>
public sealed class SafetensorsFile : StateSource
{
    // 100 bytes for each of 100,000 tensors; the parsed header takes ten times as much memory.
    private const long MaxHeaderBytes = 16 << 20;

    // The limit of libtorch.
    private const int MaxRank = 64;

    private readonly MappedFile file;
    private readonly Dictionary<string, TensorEntry> entries;

    private SafetensorsFile(MappedFile file, Dictionary<string, TensorEntry> entries, Dictionary<string, string> metadata)
    {
        this.file = file;
        this.entries = entries;
        Metadata = metadata;
    }

    /// <summary>Path of the file.</summary>
    public override string Name => file.Path;

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Keys => entries.Keys;

    /// <summary>All tensors, by key.</summary>
    public IReadOnlyDictionary<string, TensorEntry> Entries => entries;

    /// <summary>The <c>__metadata__</c> strings of the header.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Maps a file and checks its header.</summary>
    /// <exception cref="CheckpointException">The file is missing, shorter than its header says, or the header is malformed.</exception>
    public static SafetensorsFile Open(string path)
    {
        var file = MappedFile.Open(path, minimum: 8);
        try
        {
            var headerLength = BinaryPrimitives.ReadUInt64LittleEndian(file.Bytes(0, 8));
            if (headerLength > MaxHeaderBytes || (long)headerLength > file.Length - 8)
            {
                throw headerLength <= MaxHeaderBytes && file.Length > 8 && file.Bytes(8, 1)[0] == '{'
                    ? CheckpointFault.CutOff(path, file.Length, 8 + (long)headerLength)
                    : CheckpointFault.HeaderTooLong(path, headerLength, file.Length);
            }

            var (entries, metadata) = ReadHeader(path, file.Bytes(8, (long)headerLength), 8 + (long)headerLength, file.Length);
            return new SafetensorsFile(file, entries, metadata);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The raw bytes of a tensor of at most 2 GB; valid while this object is not disposed.</summary>
    public ReadOnlySpan<byte> Bytes(string key) => file.Bytes(entries[key].Offset, entries[key].ByteLength);

    /// <summary>Address of the first byte of a tensor; valid while this object is not disposed.</summary>
    internal nint Address(string key) => file.Address(entries[key].Offset);

    /// <inheritdoc/>
    public override (long[] Shape, ElementType Type) Describe(string key) => (entries[key].Shape, entries[key].Type);

    /// <summary>A tensor over the pages of the file; the map stays until this object and all such tensors are disposed.</summary>
    public override Tensor Read(string key) => file.Tensor(entries[key].Offset, entries[key].Shape, entries[key].Type);

    /// <inheritdoc/>
    public override void Prefetch(string key) => file.Prefetch(entries[key].Offset, entries[key].ByteLength);

    /// <summary>Drops the pages of a tensor until they are touched again. Changes to a tensor over these pages are lost.</summary>
    public override void Drop(string key) => file.Drop(entries[key].Offset, entries[key].ByteLength);

    /// <summary>Unmaps the file once no tensor uses it any more. Harmless when repeated.</summary>
    public override void Dispose()
    {
        file.Dispose();
        base.Dispose();
    }

    private static (Dictionary<string, TensorEntry> Entries, Dictionary<string, string> Metadata) ReadHeader(
        string path, ReadOnlySpan<byte> header, long dataStart, long fileLength)
    {
        var entries = new Dictionary<string, TensorEntry>();
        var metadata = new Dictionary<string, string>();
        try
        {
            using var json = StrictJson.Parse(header.ToArray(), new StrictJsonOptions(RepeatedKeys: true));
            if (json.RootElement.ValueKind != JsonValueKind.Object)
                throw new MalformedTextException(0, "its header is not an object");
            foreach (var property in json.RootElement.EnumerateObject())
            {
                if (property.Name == "__metadata__")
                {
                    ReadMetadata(property.Value, metadata);
                    continue;
                }

                if (!entries.TryAdd(property.Name, ReadEntry(path, property, dataStart)))
                    throw CheckpointFault.KeyTwice(path, property.Name);
            }
        }
        catch (MalformedTextException e)
        {
            throw CheckpointFault.NotSafetensors(path, e.Message, e.Key, e);
        }
        catch (OverflowException e)
        {
            throw CheckpointFault.NotSafetensors(path, CheckpointFault.TooLargeForMemory, null, e);
        }

        CheckLength(path, entries.Values, fileLength);
        CheckNoOverlap(path, entries.Values);
        return (entries, metadata);
    }

    private static void ReadMetadata(JsonElement json, Dictionary<string, string> metadata)
    {
        if (json.ValueKind != JsonValueKind.Object)
            throw new MalformedTextException(0, "__metadata__ is not an object of texts", "__metadata__");
        foreach (var pair in json.EnumerateObject())
        {
            metadata[pair.Name] = pair.Value.ValueKind == JsonValueKind.String ? pair.Value.GetString()!
                : throw new MalformedTextException(0, $"__metadata__.{pair.Name} is not a text", $"__metadata__.{pair.Name}");
        }
    }

    private static TensorEntry ReadEntry(string path, JsonProperty property, long dataStart)
    {
        var name = property.Name;
        if (property.Value.ValueKind != JsonValueKind.Object)
            throw new MalformedTextException(0, $"{name} is not the description of a tensor", name);
        if (!property.Value.TryGetProperty("dtype", out var typeName) || !property.Value.TryGetProperty("shape", out var sizes)
            || !property.Value.TryGetProperty("data_offsets", out var offsets))
        {
            throw CheckpointFault.TensorIncomplete(path, name);
        }

        var typeText = typeName.ValueKind is JsonValueKind.String or JsonValueKind.Null ? typeName.GetString()
            : throw new MalformedTextException(0, $"{name}: dtype is not a text", name);
        var type = SafetensorsTypes.Parse(typeText) ?? throw CheckpointFault.UnknownType(path, name, typeText);
        var shape = Numbers(name, "shape", sizes);
        if (shape.Length > MaxRank)
            throw CheckpointFault.TooManyDimensions(path, name, shape.Length, MaxRank);
        if (Numbers(name, "data_offsets", offsets) is not [var begin, var end])
            throw CheckpointFault.NotTwoOffsets(path, name);
        if (begin < 0 || end < begin)
            throw CheckpointFault.ImpossibleOffsets(path, name, begin, end);
        if (shape.FirstOrDefault(size => size < 0) is < 0 and var negative)
            throw CheckpointFault.NegativeSize(path, name, negative);
        if (Shapes.ByteLength(shape, type) != end - begin)
            throw CheckpointFault.SizeDiffers(path, name, shape, end - begin);
        return new TensorEntry(name, type, shape, checked(dataStart + begin), end - begin);
    }

    private static long[] Numbers(string name, string key, JsonElement json)
    {
        if (json.ValueKind != JsonValueKind.Array)
            throw new MalformedTextException(0, $"{name}: {key} is not a list of whole numbers", name);
        return [.. json.EnumerateArray().Select(item => item.ValueKind == JsonValueKind.Number && item.TryGetInt64(out var number) ? number
            : throw new MalformedTextException(0, $"{name}: {key} is not a list of whole numbers", name))];
    }

    private static void CheckLength(string path, IEnumerable<TensorEntry> entries, long fileLength)
    {
        var needed = entries.Max(entry => (long?)(entry.Offset + entry.ByteLength)) ?? 0;
        if (needed > fileLength)
            throw CheckpointFault.CutOff(path, fileLength, needed);
    }

    private static void CheckNoOverlap(string path, IEnumerable<TensorEntry> entries)
    {
        TensorEntry? before = null;
        foreach (var entry in entries.Where(e => e.ByteLength > 0).OrderBy(e => e.Offset))
        {
            if (before is not null && entry.Offset < before.Offset + before.ByteLength)
                throw CheckpointFault.TensorsOverlap(path, before.Name, entry.Name);
            before = entry;
        }
    }
}

/// <summary>Names of element types in safetensors files.</summary>
internal static class SafetensorsTypes
{
    private static readonly (ElementType Type, string Name)[] All =
    [
        (ElementType.Float64, "F64"), (ElementType.Float32, "F32"), (ElementType.Float16, "F16"), (ElementType.BFloat16, "BF16"),
        (ElementType.Int64, "I64"), (ElementType.Int32, "I32"), (ElementType.Int16, "I16"), (ElementType.Int8, "I8"),
        (ElementType.UInt8, "U8"), (ElementType.Bool, "BOOL"),
    ];

    /// <summary>The type of a name; null for an unknown name.</summary>
    internal static ElementType? Parse(string? name) => Array.FindIndex(All, known => known.Name == name) is var at and >= 0 ? All[at].Type : null;

    /// <summary>The name of a type.</summary>
    internal static string Name(ElementType type) => Array.Find(All, known => known.Type == type).Name
        ?? throw new ArgumentOutOfRangeException(nameof(type), type, "safetensors has no such element type");
}
