namespace PyramidFlow.Torch;

/// <summary>
/// Streams the weights of a model block by block: only the weights of the running block are in memory, and those of the next
/// block, which are prefetched.
/// </summary>
/// <param name="blocks">Weights of each block, in the order in which the blocks run; the first follows the last.</param>
internal sealed class WeightStream(IReadOnlyList<IReadOnlyList<Parameter>> blocks)
{
    private Task prefetch = Task.CompletedTask;

    /// <summary>Begins a block and prefetches the next one. Disposing the result frees the weights of the block.</summary>
    /// <param name="block">Index of the block.</param>
    public IDisposable Enter(int block)
    {
        Settle();
        var next = (block + 1) % blocks.Count;
        if (next != block)
            prefetch = Task.Run(() => Prefetch(blocks[next]));
        return new Turn(blocks[block]);
    }

    /// <summary>Waits for the prefetch. A weight that could not be prefetched is read, or fails, when it is used.</summary>
    public void Settle() => prefetch.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing).GetAwaiter().GetResult();

    private static void Prefetch(IReadOnlyList<Parameter> weights)
    {
        foreach (var weight in weights)
            weight.Prefetch();
    }

    private sealed class Turn(IReadOnlyList<Parameter> weights) : IDisposable
    {
        public void Dispose()
        {
            foreach (var weight in weights)
                weight.Release();
        }
    }
}

/// <summary>The weight of a parameter in a checkpoint, which can be read any number of times.</summary>
/// <param name="source">The checkpoint; not owned.</param>
/// <param name="key">Key of the weight.</param>
/// <param name="type">Element type of floating point weights; null keeps that of the checkpoint.</param>
/// <param name="device">Device of the weight; null is the CPU.</param>
/// <param name="again">Whether the weight will be read again after it was freed.</param>
internal sealed class StoredWeight(StateSource source, string key, ElementType? type, Device? device, bool again)
{
    private readonly ElementType own = source.Describe(key).Type;

    // Weights for a GPU keep their pages between steps: mapping them again costs time, and the system can reclaim them anyway.
    private readonly bool isKept = again && device is { Type: not DeviceType.Cpu };

    internal ElementType Type => own.IsFloatingPoint() ? type ?? own : own;

    internal Device Device => device ?? Device.Cpu;

    /// <summary>Whether the value lies over the pages of the checkpoint and takes no memory of its own.</summary>
    internal bool IsMapped => Type == own && Device.Type == DeviceType.Cpu;

    /// <summary>Reads the value, outside any scope.</summary>
    internal Tensor Fetch()
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var tensor = source.Read(key);
        if (IsMapped)
            return TensorScope.Release(tensor);
        // Converts on the GPU if conversion makes the weight larger, to copy fewer bytes.
        var value = Type.Size() > own.Size() ? UploadNarrow(tensor) : Upload(tensor.To(Type));
        if (!isKept)
            source.Drop(key);
        return TensorScope.Release(value);
    }

    internal void Prefetch() => source.Prefetch(key);

    internal void Drop()
    {
        if (!isKept)
            source.Drop(key);
    }

    // Waits for the conversion, because the next upload overwrites the memory of its input.
    private Tensor UploadNarrow(Tensor tensor)
    {
        var wide = Upload(tensor).To(Type);
        TorchRuntime.Synchronize(Device);
        return wide;
    }

    private Tensor Upload(Tensor tensor) => Device.Type == DeviceType.Cpu ? tensor : DeviceUpload.To(Device).Send(tensor);
}
