using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Torch;

/// <summary>
/// The weights of a model's blocks, of which only those of the block at work are in memory, and those of the next, which
/// are brought meanwhile.
/// </summary>
/// <param name="blocks">Weights of each block, in the order the blocks run; after the last the first comes again.</param>
public sealed class WeightStream(IReadOnlyList<IReadOnlyList<Parameter>> blocks)
{
    private Task ahead = Task.CompletedTask;

    /// <summary>A block's turn begins. Its weights go when what is returned is disposed.</summary>
    /// <param name="block">Its number.</param>
    public IDisposable Enter(int block)
    {
        Settle();
        var next = (block + 1) % blocks.Count;
        if (next != block)
            ahead = Task.Run(() => Bring(blocks[next]));
        return new Turn(blocks[block]);
    }

    /// <summary>Waits until nothing is brought any more. What could not be brought ahead is brought, or fails, when it is needed.</summary>
    public void Settle() => ahead.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing).GetAwaiter().GetResult();

    private static void Bring(IReadOnlyList<Parameter> weights)
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

/// <summary>Where the value of a parameter is to be had, as often as it is needed.</summary>
/// <param name="source">A checkpoint, which stays its owner's.</param>
/// <param name="key">Which of its tensors.</param>
/// <param name="type">Element type to hold floating point weights in; null keeps the checkpoint's.</param>
/// <param name="device">Where to hold it; null is the CPU.</param>
/// <param name="again">Whether it will be needed again after it was let go.</param>
internal sealed class StoredWeight(StateSource source, string key, ElementType? type, Device? device, bool again)
{
    private readonly ElementType own = source.Describe(key).Type;

    // The system can have the pages whenever it needs them; without need they are not mapped anew for each step of a GPU.
    private readonly bool isKept = again && device is { Type: not DeviceType.Cpu };

    internal ElementType Type => own.IsFloatingPoint() ? type ?? own : own;

    internal Device Device => device ?? Device.Cpu;

    /// <summary>Whether the value lies over the checkpoint's own pages, so that it takes no memory of its own.</summary>
    internal bool IsMapped => Type == own && Device.Type == DeviceType.Cpu;

    /// <summary>The value, in no scope.</summary>
    internal Tensor Fetch()
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var tensor = source.Read(key);
        if (IsMapped)
            return TensorScope.Release(tensor);
        // One of a GPU is brought over before it is converted if that makes it larger.
        var there = Type.Size() > own.Size() ? BringNarrow(tensor) : Bring(tensor.To(Type));
        if (!isKept)
            source.Drop(key);
        return TensorScope.Release(there);
    }

    internal void Prefetch() => source.Prefetch(key);

    internal void Drop()
    {
        if (!isKept)
            source.Drop(key);
    }

    // What is converted there lies in memory of the uploads, which the next one writes to, so it is waited for.
    private Tensor BringNarrow(Tensor tensor)
    {
        var wide = Bring(tensor).To(Type);
        TorchRuntime.Synchronize(Device);
        return wide;
    }

    private Tensor Bring(Tensor tensor) => Device.Type == DeviceType.Cpu ? tensor : DeviceUpload.To(Device).Send(tensor);
}
