using System.Globalization;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>
/// The tensors of a PyTorch checkpoint (<c>.bin</c>, <c>.pt</c>, <c>.pth</c>) in the format of <c>torch.save</c> since 1.6: a zip
/// file with a pickle and one entry for each storage. The pickle is parsed, never executed; anything but tensors in dictionaries
/// and lists is refused with a <see cref="CheckpointException"/>. Nested containers are flattened to keys with dots
/// (<c>{"model": {"weight": ...}}</c> is <c>model.weight</c>); numbers, strings and the like are skipped. Row-major tensors lie
/// over the pages of the file, others are copied when they are read.
/// </summary>
public sealed class TorchArchive : StateSource
{
    private readonly MappedFile file;
    private readonly Dictionary<string, Placed> entries = [];

    private TorchArchive(MappedFile file) => this.file = file;

    /// <inheritdoc/>
    public override string Name => file.Path;

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Keys => entries.Keys;

    /// <summary>Maps a file and checks all of it: zip directory, pickle, and that every tensor lies inside its storage.</summary>
    /// <param name="path">The checkpoint.</param>
    /// <param name="bareKey">Key of a tensor that was saved without a container; null refuses such a file.</param>
    /// <exception cref="CheckpointException">
    /// The file is missing, cut off, in the format before 1.6, big-endian, or asks for anything but tensors; the message names
    /// the fault.
    /// </exception>
    public static TorchArchive Open(string path, string? bareKey = null)
    {
        var file = MappedFile.Open(path, minimum: 4);
        try
        {
            CheckFormat(file);
            var archive = new TorchArchive(file);
            archive.Index(bareKey);
            return archive;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override (long[] Shape, ElementType Type) Describe(string key) => (entries[key].Tensor.Shape, entries[key].Tensor.Type);

    /// <inheritdoc/>
    public override Tensor Read(string key)
    {
        var (tensor, start, extent) = entries[key];
        if (Shapes.IsRowMajor(tensor.Shape, tensor.Strides))
            return file.Tensor(start, tensor.Shape, tensor.Type);
        using var scope = new TensorScope();
        var flat = file.Tensor(start, [extent], tensor.Type);
        return scope.Keep(flat.AsStrided(tensor.Shape, tensor.Strides).Contiguous());
    }

    /// <inheritdoc/>
    public override void Prefetch(string key) => file.Prefetch(entries[key].Start, Length(key));

    /// <inheritdoc/>
    public override void Drop(string key) => file.Drop(entries[key].Start, Length(key));

    /// <inheritdoc/>
    public override void Dispose()
    {
        file.Dispose();
        base.Dispose();
    }

    private long Length(string key) => entries[key].Extent * entries[key].Tensor.Type.Size();

    private static void CheckFormat(MappedFile file)
    {
        var start = file.Bytes(0, 4);
        if (start.SequenceEqual("PK\x03\x04"u8))
            return;
        throw start[0] == 0x80 ? CheckpointFault.OldTorchFormat(file.Path) : CheckpointFault.NoZip(file.Path);
    }

    private void Index(string? bareKey)
    {
        var budget = new ArchiveBudget(file.Path);
        var zip = new StoredZip(file, budget);
        var pickles = zip.Entries.Keys.Where(name => name.EndsWith("/data.pkl", StringComparison.Ordinal)
            && name.IndexOf('/', StringComparison.Ordinal) == name.Length - "/data.pkl".Length).ToList();
        if (pickles.Count != 1)
            throw CheckpointFault.NotOneTensorList(file.Path, pickles.Count);
        var root = pickles[0][..^"data.pkl".Length];
        if (zip.Entries.TryGetValue(root + "byteorder", out var order)
            && (order.Length != 6 || !file.Bytes(order.Offset, 6).SequenceEqual("little"u8)))
        {
            throw CheckpointFault.BigEndian(file.Path);
        }

        var (offset, length) = zip.Entries[pickles[0]];
        var content = new PickleReader(file.Path, budget).Read(file.Bytes(offset, Math.Min(length, int.MaxValue)));
        foreach (var (key, tensor) in new PickleTensors(budget, bareKey).Flatten(content))
        {
            if (!entries.TryAdd(key, Place(key, tensor, zip, root)))
                throw CheckpointFault.TorchKeyTwice(file.Path, key);
        }

        if (entries.Count == 0)
            throw CheckpointFault.NoNamedTensors(file.Path);
    }

    private Placed Place(string key, PickleTensor tensor, StoredZip zip, string root)
    {
        var storage = tensor.Storage;
        if (!zip.Entries.TryGetValue($"{root}data/{storage.Entry}", out var bytes))
            throw CheckpointFault.StorageMissing(file.Path, key, storage.Entry);
        var size = tensor.Type.Size();
        var available = bytes.Length / size;
        var claimed = storage.Type is null ? storage.Count / size : storage.Count;
        if (claimed < 0 || claimed > available)
            throw CheckpointFault.StorageTooShort(file.Path, key, storage.Entry, storage.Count, bytes.Length);
        try
        {
            if (tensor.Offset < 0 || tensor.Shape.Any(n => n < 0) || tensor.Strides.Any(n => n < 0))
                throw CheckpointFault.NegativeLayout(file.Path, key);
            var count = Shapes.ElementCount(tensor.Shape);
            long extent = 0;
            if (count > 0)
            {
                extent = 1;
                for (var i = 0; i < tensor.Shape.Length; i++)
                    extent = checked(extent + ((tensor.Shape[i] - 1) * tensor.Strides[i]));
            }

            // Overlapping elements could turn a few bytes into terabytes when copied.
            if (count > claimed || checked(tensor.Offset + extent) > claimed)
                throw CheckpointFault.TensorOutside(file.Path, key, tensor.Shape, tensor.Offset, claimed);
            return new Placed(tensor, bytes.Offset + (tensor.Offset * size), extent);
        }
        catch (OverflowException)
        {
            throw CheckpointFault.TensorTooLarge(file.Path, key);
        }
    }

    /// <summary>A tensor, the offset of its first byte in the file, and the number of elements from its first to its last.</summary>
    private sealed record Placed(PickleTensor Tensor, long Start, long Extent);
}

/// <summary>Finds the tensors in nested containers; the key of a tensor is its path, with dots.</summary>
/// <param name="budget">Limit of items and bytes for the whole file.</param>
/// <param name="bareKey">Key of a tensor outside any container; null skips it.</param>
internal sealed class PickleTensors(ArchiveBudget budget, string? bareKey)
{
    // A pickle can hold a list that contains itself, or nested lists that all share their items.
    private const int MaxDepth = 32;
    private const int MaxKeyLength = 1024;

    // Memory of a key and its entry without its characters.
    private const int KeyBytes = 256;

    /// <summary>All tensors with their keys, in the order of the file.</summary>
    /// <exception cref="CheckpointException">The containers are nested too deeply or too large.</exception>
    internal IEnumerable<(string Key, PickleTensor Tensor)> Flatten(object? content) => Visit("", content, 0);

    private IEnumerable<(string Key, PickleTensor Tensor)> Visit(string key, object? value, int depth)
    {
        if (depth > MaxDepth || key.Length > MaxKeyLength)
            throw budget.TooLarge();
        switch (value)
        {
            case PickleTensor tensor when key.Length > 0:
                return [(key, tensor)];
            case PickleTensor tensor when bareKey is not null:
                return [(bareKey, tensor)];
            case PickleDictionary dictionary:
                return dictionary.Items.SelectMany(item => Item(key, item.Key, item.Value, depth));
            case IReadOnlyList<object?> list:
                return list.SelectMany((item, index) => Item(key, (long)index, item, depth));
            default:
                return [];
        }
    }

    // Counts every item, also those without a tensor: a container that is referenced many times is walked each time.
    private IEnumerable<(string Key, PickleTensor Tensor)> Item(string outer, object? key, object? value, int depth)
    {
        budget.Visit();
        if (Name(key) is not { } name || value is not (PickleTensor or PickleDictionary or IReadOnlyList<object?>))
            return [];
        budget.Take(KeyBytes + (2L * (outer.Length + name.Length)));
        return Visit(Join(outer, name), value, depth + 1);
    }

    private static string? Name(object? key) => key switch
    {
        string text => text,
        long number => number.ToString(CultureInfo.InvariantCulture),
        _ => null,
    };

    private static string Join(string outer, string inner) => outer.Length == 0 ? inner : $"{outer}.{inner}";
}

/// <summary>
/// Limits the cost of listing one PyTorch checkpoint. A pickle can reference its parts repeatedly, so that a few kilobytes stand
/// for gigabytes: this counts every object created or visited between the file and its keys.
/// </summary>
/// <param name="path">Name of the file for error messages.</param>
internal sealed class ArchiveBudget(string path)
{
    // The largest training checkpoints, 10,000 tensors with keys of 100 characters, take a tenth of either limit.
    private const int MaxItems = 1 << 18;
    private const long MaxBytes = 128 << 20;

    private int items;
    private long bytes;

    /// <summary>Counts a visited item of a container.</summary>
    /// <exception cref="CheckpointException">The limit is exceeded.</exception>
    internal void Visit()
    {
        if (++items > MaxItems)
            throw TooLarge();
    }

    /// <summary>Counts memory before it is allocated.</summary>
    /// <param name="count">Approximate number of bytes.</param>
    /// <exception cref="CheckpointException">The limit is exceeded.</exception>
    internal void Take(long count)
    {
        bytes += count;
        if (bytes > MaxBytes)
            throw TooLarge();
    }

    /// <summary>The error for containers beyond the limits.</summary>
    internal CheckpointException TooLarge() => CheckpointFault.ContainersTooLarge(path);
}
