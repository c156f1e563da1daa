using System.Globalization;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>The tensors of one or several safetensors files (shards), read through their memory maps.</summary>
public sealed class SafetensorsSource : StateSource
{
    private readonly SafetensorsFile[] files;
    private readonly Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> entries = [];

    /// <summary>Opens the files; a key in two of them is an error.</summary>
    /// <param name="name">What to call them together in an error.</param>
    /// <param name="paths">The files.</param>
    public SafetensorsSource(string name, params IReadOnlyList<string> paths)
    {
        Name = name;
        files = new SafetensorsFile[paths.Count];
        try
        {
            for (var i = 0; i < paths.Count; i++)
            {
                files[i] = SafetensorsFile.Open(paths[i]);
                foreach (var entry in files[i].Entries.Values)
                {
                    if (!entries.TryAdd(entry.Name, (files[i], entry)))
                        throw new CheckpointException(string.Create(CultureInfo.InvariantCulture, $"{paths[i]} holds {entry.Name}, which another shard of {name} holds too"));
                }
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Opens one file.</summary>
    public SafetensorsSource(string path)
        : this(path, [path])
    {
    }

    /// <inheritdoc/>
    public override string Name { get; }

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Keys => entries.Keys;

    /// <inheritdoc/>
    public override (long[] Shape, ElementType Type) Describe(string key) => (entries[key].Entry.Shape, entries[key].Entry.Type);

    /// <inheritdoc/>
    public override Tensor Read(string key)
    {
        var (file, entry) = entries[key];
        return file.Tensor(entry);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        foreach (var file in files)
            file?.Dispose();
        base.Dispose();
    }
}
