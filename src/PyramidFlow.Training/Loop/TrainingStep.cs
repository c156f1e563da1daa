using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>One step of a training: gradients of its batches, clipped, judged and applied.</summary>
/// <param name="config">Seed, accumulation.</param>
/// <param name="training">What is trained.</param>
/// <param name="folder">Where a batch is saved whose loss is not a number.</param>
/// <param name="group">The processes that train together, or null for one.</param>
internal sealed class TrainingStep(LoopConfig config, ITraining training, RunFolder folder, ProcessGroup? group)
{
    private int Rank => group?.Rank ?? 0;

    private int Ranks => group?.WorldSize ?? 1;

    /// <summary>Takes the step and counts it.</summary>
    /// <param name="state">What steps.</param>
    /// <param name="cancel">Whether this process was told to stop.</param>
    /// <exception cref="TrainingException">A loss or a gradient is not a number; nothing was changed.</exception>
    public StepResult Take(TrainingState state, CancellationToken cancel)
    {
        var losses = BatchLosses.Mean([.. Batches(state.Step).Select(training.Backward)]);
        var isLast = cancel.IsCancellationRequested;
        if (group is not null)
        {
            (losses, isLast) = AddUp(group, losses, isLast);
            foreach (var part in training.Parts)
                group.AllReduce(part.Parameters.Gradients);
        }

        var norms = training.Parts.Select(part => part.Clip()).ToArray();
        RequireNumbers(state.Step, losses, norms);
        var fault = state.Guard.Judge([("loss", losses.Loss), .. training.Parts.Zip(norms, (part, norm) => (part.NormName, norm))]);
        foreach (var (part, norm) in training.Parts.Zip(norms))
        {
            // A part that no loss reached, such as a discriminator before its start, rests.
            if (fault is null && norm > 0)
                part.Update(state.Step);
            else
                part.Parameters.ZeroGradients();
        }

        state.Step++;
        return new StepResult(losses, norms, fault, isLast);
    }

    private IEnumerable<MicroBatch> Batches(long step) => Enumerable.Range(0, config.Accumulation)
        .Select(i => new MicroBatch(config.Seed, step, (step * config.Accumulation) + i, 1.0 / (config.Accumulation * Ranks), Rank, Ranks));

    // Mean losses and all tokens of all processes; each knows afterwards whether any was told to stop.
    private static (BatchLosses Losses, bool IsLast) AddUp(ProcessGroup group, BatchLosses losses, bool isLast)
    {
        double[] sums = [isLast ? 1 : 0, losses.Tokens, losses.Loss, .. losses.Named.Select(value => value.Value)];
        group.AllReduce<double>(sums);
        var named = losses.Named.Select((value, i) => (value.Name, sums[3 + i] / group.WorldSize));
        return (new BatchLosses(sums[2] / group.WorldSize, [.. named], (long)sums[1]), sums[0] > 0);
    }

    private void RequireNumbers(long step, BatchLosses losses, double[] norms)
    {
        var wrong = losses.Named.Prepend(("loss", losses.Loss)).Concat(training.Parts.Zip(norms, (part, norm) => (part.NormName, norm)))
            .Where(value => !double.IsFinite(value.Item2)).Select(value => value.Item1).ToList();
        if (wrong.Count == 0)
            return;
        var path = folder.File(FormattableString.Invariant($"nan-step-{step}{(group is null ? "" : $"-process-{Rank}")}.safetensors"));
        using (var scope = new TensorScope())
            SafetensorsWriter.Write(path, Batches(step).SelectMany((batch, i) => training.Inputs(batch).Select(input => ($"batch_{i}.{input.Key}", input.Tensor))));
        throw new TrainingException($"step {step}: {string.Join(", ", wrong)} not a number; the batch is saved in {path} and the last checkpoint stays: "
            + (BrokenWeight() is { } key
                ? $"the weight {key} holds a number that is not finite already, so begin with another checkpoint (models verify looks at every weight)"
                : "look at the batch, or go on with a lower learning_rate or in precision float32"));
    }

    // A step is not taken on losses that are no numbers, so such a weight was there from the start.
    private string? BrokenWeight()
    {
        using var scope = new TensorScope();
        return training.Parts.SelectMany(part => part.Parameters.Named(part.Parameters.Values)).FirstOrDefault(weight => !weight.Tensor.AllFinite()).Key;
    }
}
