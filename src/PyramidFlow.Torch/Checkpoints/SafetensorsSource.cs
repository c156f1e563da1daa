namespace PyramidFlow.Torch.Checkpoints;

/// <summary>The tensors of one safetensors file, read through its memory map.</summary>
public sealed class SafetensorsSource : StateSource
{
    private readonly SafetensorsFile file;

    /// <summary>Opens the file.</summary>
    /// <exception cref="CheckpointException">It is missing, shorter than it says, or its header is malformed.</exception>
    public SafetensorsSource(string path)
    {
        file = SafetensorsFile.Open(path);
        Keys = [.. file.Entries.Keys];
    }

    /// <inheritdoc/>
    public override string Name => file.Path;

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> Keys { get; }

    /// <inheritdoc/>
    public override (long[] Shape, ElementType Type) Describe(string key) => (file.Entries[key].Shape, file.Entries[key].Type);

    /// <inheritdoc/>
    public override Tensor Read(string key) => file.Tensor(file.Entries[key]);

    /// <inheritdoc/>
    public override void Prefetch(string key) => file.Prefetch(file.Entries[key]);

    /// <inheritdoc/>
    public override void Drop(string key) => file.Drop(file.Entries[key]);

    /// <inheritdoc/>
    public override void Dispose()
    {
        file.Dispose();
        base.Dispose();
    }
}
