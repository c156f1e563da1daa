using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Runs;

/// <summary>One step of a training: gradients of its batches, clipped, judged and applied.</summary>
/// <param name="config">Seed, accumulation.</param>
/// <param name="training">What is trained.</param>
/// <param name="folder">Where a batch is saved whose loss is not a number.</param>
internal sealed class TrainingStep(LoopConfig config, ITraining training, RunFolder folder)
{
    /// <summary>Takes the step and counts it.</summary>
    /// <exception cref="TrainingException">A loss or a gradient is not a number; nothing was changed.</exception>
    public StepResult Take(TrainingState state)
    {
        var losses = BatchLosses.Mean([.. Batches(state.Step).Select(training.Backward)]);
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
        return new StepResult(losses, norms, fault);
    }

    private IEnumerable<MicroBatch> Batches(long step) => Enumerable.Range(0, config.Accumulation)
        .Select(i => new MicroBatch(config.Seed, step, (step * config.Accumulation) + i, 1.0 / config.Accumulation));

    private void RequireNumbers(long step, BatchLosses losses, double[] norms)
    {
        var wrong = losses.Named.Prepend(("loss", losses.Loss)).Concat(training.Parts.Zip(norms, (part, norm) => (part.NormName, norm)))
            .Where(value => !double.IsFinite(value.Item2)).Select(value => value.Item1).ToList();
        if (wrong.Count == 0)
            return;
        var path = folder.File(FormattableString.Invariant($"nan-step-{step}.safetensors"));
        using (var scope = new TensorScope())
            SafetensorsWriter.Write(path, Batches(step).SelectMany((batch, i) => training.Inputs(batch).Select(input => ($"batch_{i}.{input.Key}", input.Tensor))));
        throw new TrainingException($"step {step}: {string.Join(", ", wrong)} not a number; the batch is saved in {path} and the last checkpoint stays: "
            + "look at the batch, or go on with a lower learning_rate or in precision float32");
    }
}
