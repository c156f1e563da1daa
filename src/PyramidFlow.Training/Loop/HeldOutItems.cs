using System.Globalization;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>
/// Items that a training does not train on, whose loss is measured at every checkpoint. Noise, timesteps, lengths and captions are the same each time, so that only the weights make a
/// difference.
/// </summary>
internal sealed class HeldOutItems
{
    // Few items are measured several times each, with other draws: one timestep of one item says little.
    private const int FewestRows = 16;

    /// <summary>Number of items, at least 1.</summary>
    public required int Count { get; init; }

    /// <summary>What a loss depends on besides the weights: the items, and how they are measured. Losses of another identity are not compared.</summary>
    public required string Identity { get; init; }

    /// <summary>The stages that are trained, each with its weight in the loss, as in the training loss.</summary>
    public required IReadOnlyList<(int Stage, double Weight)> Stages { get; init; }

    /// <summary>
    /// Losses of an item with the weights of now, without gradients: for each row, which is a number that determines its draws, those of the stages. Null where the item cannot be read.
    /// </summary>
    public required Func<int, IReadOnlyList<int>, IReadOnlyList<double[]>?> Losses { get; init; }

    /// <summary>Whether the weights with the least loss are kept.</summary>
    public bool IsBestKept { get; init; } = true;

    private int Repeats => (FewestRows + Count - 1) / Count;

    /// <summary>Measures all items; the processes of a group divide them, and all get the same result.</summary>
    /// <param name="group">Process group of the training; null measures in this process alone.</param>
    public HeldOutLoss Measure(ProcessGroup? group)
    {
        // For each item whether it was read, then the losses of its rows.
        var length = 1 + (Repeats * Stages.Count);
        var all = new double[Count * length];
        for (var item = group?.Rank ?? 0; item < Count; item += group?.WorldSize ?? 1)
        {
            if (Losses(item, [.. Enumerable.Range(0, Repeats).Select(repeat => item + (repeat * Count))]) is not { } rows)
                continue;
            all[item * length] = 1;
            rows.SelectMany(row => row).ToArray().CopyTo(all, (item * length) + 1);
        }

        group?.AllReduce<double>(all);
        var read = all.Chunk(length).Where(item => item[0] > 0).ToList();
        double[] means = [.. Stages.Select((_, i) => read.SelectMany(item => item.Skip(1).Where((_, place) => place % Stages.Count == i)).DefaultIfEmpty(double.NaN).Average())];
        var loss = Stages.Zip(means, (stage, mean) => stage.Weight * mean).Sum() / Stages.Sum(stage => stage.Weight);
        return new HeldOutLoss(loss, [(HeldOutLoss.Name, loss), .. Stages.Zip(means, (stage, mean) => (string.Create(CultureInfo.InvariantCulture, $"{HeldOutLoss.Name}_{stage.Stage}"), mean))]);
    }
}

/// <summary>A loss of held-out items.</summary>
/// <param name="Loss">Mean over stages and items, weighted as the training loss; NaN where no item could be read.</param>
/// <param name="Named">The same and the loss of each stage, with their names in metrics.</param>
internal sealed record HeldOutLoss(double Loss, IReadOnlyList<(string Name, double Value)> Named)
{
    /// <summary>Name in metrics.</summary>
    public const string Name = "held_out_loss";
}
