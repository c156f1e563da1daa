using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Dit;

/// <summary>Measures held-out items of a transformer's training: one at a time, at all trained stages together, with the caption and always with the same draws.</summary>
/// <param name="config">The configuration.</param>
/// <param name="scheduler">Stage windows and tables.</param>
/// <param name="lengths">Lengths of the autoregressive objective.</param>
/// <param name="items">The data.</param>
/// <param name="models">Frozen models.</param>
/// <param name="transformer">The transformer.</param>
/// <param name="distiller">Gives the targets of a teacher in place of those of the items; null has none.</param>
internal sealed class DitHeldOut(DitConfig config, PyramidFlowScheduler scheduler, StageLengths lengths, DitBatches items, FrozenModels models, TrainedTransformer transformer,
    Distiller? distiller = null)
{
    // One row of each trained stage.
    private readonly FlowObjective objective = new(scheduler, new ObjectiveOptions
    {
        SampleRatios = [.. config.SampleRatios.Select(ratio => Math.Min(1, ratio))], CorruptRatio = config.CorruptRatio, FramesPerUnit = config.FramePerUnit,
    });

    /// <summary>The items; at least one is held out. In a distillation they are those of the round at work.</summary>
    internal HeldOutItems Items => new()
    {
        Count = items.HeldOut.Items.Count,
        Identity = FormattableString.Invariant(
            $"{items.HeldOut.Digest} {config.Objective} {string.Join(':', config.SampleRatios)} {config.CorruptRatio:R} {config.FramePerUnit} {config.MaxTemporalLength} {config.Precision}{(distiller is null ? "" : " " + distiller.LossIdentity)}"),
        Stages = [.. config.SampleRatios.Index().Where(stage => stage.Item > 0).Select(stage => (stage.Index, (double)stage.Item))],
        Losses = Losses,
        IsBestKept = config.KeepBest,
    };

    private List<double[]>? Losses(int item, IReadOnlyList<int> rows)
    {
        using var scope = new TensorScope();
        if (items.ReadHeldOut(item) is not { } read)
            return null;
        // Draws of its own: the noise of the VAE's posterior must not be that of a row.
        using var encoding = new FixedDraws(-1 - item);
        var latents = models.Latents(read.Content, read.ArePixels, encoding);
        var text = models.Text(read.Captions, read.Text, [false]);
        return [.. rows.Select(row => Losses(latents, text, row))];
    }

    private double[] Losses(Tensor latents, TextCondition text, int row)
    {
        using var scope = new TensorScope();
        using var draws = new FixedDraws(row);
        var stages = config.SampleRatios.Count(ratio => ratio > 0);
        var units = config.Objective == TemporalObjective.Autoregressive
            ? Enumerable.Repeat(1 + (row % Math.Min(lengths.UnitsOf(latents.Size(2)), lengths.MaxUnits)), config.SampleRatios.Count).ToList()
            : null;
        var batch = objective.Draw(Repeated(latents), units, draws, distiller?.Steps);
        var words = new TextCondition(Repeated(text.Tokens), text.Mask.Repeat(stages), Repeated(text.Pooled));
        var losses = FlowStep.Evaluate(transformer.Workers.Model, distiller?.Teach(batch, words) ?? batch, words);
        return [.. losses.ToArray<float>().Select(loss => (double)loss)];

        Tensor Repeated(Tensor one) => stages == 1 ? one : Tensor.Cat([.. Enumerable.Repeat(one, stages)], 0);
    }
}
