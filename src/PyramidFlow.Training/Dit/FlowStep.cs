using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Training.Dit;

/// <summary>Forward and backward of one batch.</summary>
public static class FlowStep
{
    /// <summary>Operations of <see cref="Backward"/>; see <see cref="DitFlops.Training"/>.</summary>
    /// <param name="network">Sizes of the transformer.</param>
    /// <param name="batch">Inputs.</param>
    /// <param name="text">Text rows in the batch's order.</param>
    public static long Flops(ITransformerConfig network, FlowBatch batch, TextMask text)
    {
        var count = batch.Columns.Count;
        return batch.Stages.Select((clips, i) => (Clips: clips, Text: text.Stage(i, count)))
            .Sum(stage => DitFlops.Training(network, new SequenceShape(stage.Text.Rows, stage.Text.Length, [.. stage.Clips.Select(ClipSize.Of)], network.UseTemporalCausal)));
    }

    /// <summary>Adds the gradients of a batch's mean loss to those of the weights.</summary>
    /// <param name="model">The transformer.</param>
    /// <param name="batch">Inputs and targets.</param>
    /// <param name="text">Text of as many rows, in the batch's order.</param>
    /// <param name="scale">Factor of the loss, such as one over the batches that make a step.</param>
    /// <param name="weights">Of each sample, column after column, such as <see cref="AdaptiveLossWeight.Weights"/> gives; null is 1.</param>
    /// <returns>The loss of each sample before factor and weights, [rows], column after column; no gradients.</returns>
    public static Tensor Backward(PyramidTransformer model, FlowBatch batch, TextCondition text, double scale = 1,
        IReadOnlyList<float>? weights = null)
    {
        using var scope = new TensorScope();
        var count = batch.Columns.Count;
        SequenceLayout[] layouts = [.. batch.Stages.Select((clips, i) => model.Layout([.. clips.Select(ClipSize.Of)], text.Mask.Stage(i, count)))];
        try
        {
            var losses = FlowLoss.PerSample(model.Forward(batch.Stages, text, batch.Timesteps, layouts), batch);
            var weighted = weights is null ? losses : losses * Tensor.From(weights.ToArray()).To(losses.Device);
            (weighted.Mean() * scale).Backward();
            return scope.Keep(losses.Detach());
        }
        finally
        {
            // Not before backward: blocks that are computed again there need them.
            foreach (var layout in layouts)
                layout.Dispose();
        }
    }
}
