using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>One optimizer step: gradients of all micro-batches, clipping, spike check, update.</summary>
/// <param name="config">Seed and number of micro-batches.</param>
/// <param name="training">The trainer.</param>
/// <param name="folder">Folder that receives a batch whose loss is not finite; null keeps none.</param>
/// <param name="group">Process group of the training; null trains in this process alone.</param>
internal sealed class TrainingStep(LoopConfig config, ITraining training, RunFolder? folder, ProcessGroup? group)
{
    private int Rank => group?.Rank ?? 0;

    private int Ranks => group?.WorldSize ?? 1;

    /// <summary>Takes the step and increments the step counter.</summary>
    /// <param name="state">The training state.</param>
    /// <param name="cancellationToken">Whether this process was asked to stop.</param>
    /// <exception cref="TrainingException">A loss or a gradient is not finite; the state is unchanged.</exception>
    public StepResult Take(TrainingState state, CancellationToken cancellationToken)
    {
        foreach (var part in training.Parts)
            part.Parameters.MakeGradients();
        var losses = BatchLosses.Mean([.. Batches(state.Step).Select(training.Backward)]);
        var isLast = cancellationToken.IsCancellationRequested;
        if (group is not null)
        {
            (losses, isLast) = AllReduce(group, losses, isLast);
            foreach (var part in training.Parts)
                part.Reduce();
        }

        var norms = TrainingPart.Norms(training.Parts);
        foreach (var (part, norm) in training.Parts.Zip(norms))
            part.Clip(norm);
        RequireFinite(state.Step, losses, norms);
        var fault = state.Guard.Judge([("loss", losses.Loss), .. training.Parts.Zip(norms, (part, norm) => (part.NormName, norm))]);
        foreach (var (part, norm) in training.Parts.Zip(norms))
        {
            // A part without gradients, such as a discriminator before its start, is not updated.
            if (fault is null && norm > 0)
                part.Update(state.Step);
            else
                part.Parameters.ZeroGradients();
        }

        state.Step++;
        return new StepResult(losses, norms, fault, isLast);
    }

    private IEnumerable<MicroBatch> Batches(long step)
    {
        var (count, stride) = config.MicroBatches(Ranks);
        return Enumerable.Range(0, count).Select(i => config.BatchesPerStep is { } all
            // The numbers that one process would give these micro-batches.
            ? new MicroBatch(config.Seed, step, (step * all) + ((long)i * stride) + Rank, 1.0 / all)
            : new MicroBatch(config.Seed, step, (step * count) + i, 1.0 / (count * Ranks), Rank, Ranks));
    }

    // Means of the losses and sums of the tokens over all ranks; every rank learns whether any was asked to stop.
    private static (BatchLosses Losses, bool IsLast) AllReduce(ProcessGroup group, BatchLosses losses, bool isLast)
    {
        double[] sums = [isLast ? 1 : 0, losses.Tokens, losses.Loss, .. losses.Named.Select(value => value.Value)];
        group.AllReduce<double>(sums);
        var named = losses.Named.Select((value, i) => (value.Name, sums[3 + i] / group.WorldSize));
        return (new BatchLosses(sums[2] / group.WorldSize, [.. named], (long)sums[1]), sums[0] > 0);
    }

    private void RequireFinite(long step, BatchLosses losses, double[] norms)
    {
        var wrong = losses.Named.Prepend(("loss", losses.Loss)).Concat(training.Parts.Zip(norms, (part, norm) => (part.NormName, norm)))
            .Where(value => !double.IsFinite(value.Item2)).Select(value => value.Item1).ToList();
        if (wrong.Count == 0)
            return;
        throw TrainingFault.NotFinite(step, wrong, folder is null ? null : SaveBatch(folder, step), FindNonFiniteWeight());
    }

    private string SaveBatch(RunFolder target, long step)
    {
        var path = target.File(FormattableString.Invariant($"nan-step-{step}{(group is null ? "" : $"-process-{Rank}")}.safetensors"));
        using var scope = new TensorScope();
        SafetensorsWriter.Write(path, Batches(step).SelectMany((batch, i) => training.Inputs(batch).Select(input => ($"batch_{i}.{input.Key}", input.Tensor))));
        return path;
    }

    // No step is applied on a non-finite loss, so a non-finite weight was there from the start.
    private string? FindNonFiniteWeight()
    {
        using var scope = new TensorScope();
        return training.Parts.SelectMany(part => part.Parameters.Named(part.Parameters.Computed)).FirstOrDefault(weight => !weight.Tensor.AllFinite()).Key;
    }
}

/// <summary>Result of a step.</summary>
/// <param name="Losses">Mean losses of all micro-batches.</param>
/// <param name="Norms">Gradient norm of each part before clipping.</param>
/// <param name="Skipped">Why the update was skipped; null if it was applied.</param>
/// <param name="IsLast">Whether any process was asked to stop: all ranks stop after the same step.</param>
internal sealed record StepResult(BatchLosses Losses, IReadOnlyList<double> Norms, string? Skipped, bool IsLast);
