namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Several checkpoints that are one; a key in two of them is an error. Disposing it disposes them.</summary>
internal sealed class ShardedSource : StateSource
{
    private readonly IReadOnlyList<StateSource> shards;
    private readonly Dictionary<string, StateSource> owners = [];

    internal ShardedSource(string name, IReadOnlyList<StateSource> shards)
    {
        Name = name;
        this.shards = shards;
        foreach (var shard in shards)
        {
            foreach (var key in shard.Keys)
            {
                if (!owners.TryAdd(key, shard))
                    throw new CheckpointException($"{shard.Name} holds {key}, which another shard of {name} holds too: download them again, from one place");
            }
        }
    }

    public override string Name { get; }

    public override IReadOnlyCollection<string> Keys => owners.Keys;

    public override (long[] Shape, ElementType Type) Describe(string key) => owners[key].Describe(key);

    public override string FileOf(string key) => owners[key].FileOf(key);

    public override Tensor Read(string key) => owners[key].Read(key);

    public override void Prefetch(string key) => owners[key].Prefetch(key);

    public override void Drop(string key) => owners[key].Drop(key);

    public override void Dispose()
    {
        foreach (var shard in shards)
            shard.Dispose();
        base.Dispose();
    }
}
