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
