namespace PyramidFlow.Training.Loop;

/// <summary>What one batch gave, besides its gradients.</summary>
/// <param name="Loss">The loss that is trained, a mean over the batch.</param>
/// <param name="Named">Its parts and whatever else is worth a line, under names that are the same for every batch.</param>
/// <param name="Tokens">Tokens, or what else the work is counted in, that went through the network.</param>
public sealed record BatchLosses(double Loss, IReadOnlyList<(string Name, double Value)> Named, long Tokens)
{
    /// <summary>Operations of the matrix products; 0 where they are not counted.</summary>
    public long Flops { get; init; }

    /// <summary>Mean losses and all tokens and operations of several batches.</summary>
    public static BatchLosses Mean(IReadOnlyList<BatchLosses> batches) => batches.Count == 1 ? batches[0] : new BatchLosses(
        batches.Average(batch => batch.Loss),
        [.. batches[0].Named.Select((first, i) => (first.Name, batches.Average(batch => batch.Named[i].Value)))],
        batches.Sum(batch => batch.Tokens))
    {
        Flops = batches.Sum(batch => batch.Flops),
    };
}
