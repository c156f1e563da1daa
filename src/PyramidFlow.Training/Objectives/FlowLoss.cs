using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Objectives;

/// <summary>Forward and backward pass of one batch.</summary>
internal static class FlowStep
{
    /// <summary>Floating-point operations of <see cref="Backward"/>; see <see cref="DitFlops.Training"/>.</summary>
    /// <param name="network">Configuration of the transformer.</param>
    /// <param name="batch">The inputs.</param>
    /// <param name="text">Mask of the text rows, in the order of the batch.</param>
    /// <param name="teacherPasses">Passes of a teacher of the same network, without gradients.</param>
    public static long Flops(ITransformerConfig network, FlowBatch batch, TextMask text, int teacherPasses = 0)
    {
        var count = batch.Columns.Count;
        return batch.Stages.Select((clips, i) => (Clips: clips, Text: text.Stage(i, count)))
            .Select(stage => new SequenceShape(stage.Text.Rows, stage.Text.Length, [.. stage.Clips.Select(ClipSize.Of)], network.UseTemporalCausal))
            .Sum(shape => DitFlops.Training(network, shape) + (teacherPasses * DitFlops.Joint(network, shape)));
    }

    /// <summary>Adds the gradients of the batch's mean loss to those of the weights.</summary>
    /// <param name="model">The transformer.</param>
    /// <param name="batch">Inputs and targets.</param>
    /// <param name="text">Text of as many rows, in the order of the batch.</param>
    /// <param name="scale">Factor of the loss, such as 1 / (number of micro-batches in a step).</param>
    /// <param name="weights">Weight of each sample, column by column, such as <see cref="AdaptiveLossWeight.Weights"/>; null is 1.</param>
    /// <returns>Loss of each sample without factor and weights, [rows], column by column; no gradients.</returns>
    public static Tensor Backward(PyramidTransformer model, FlowBatch batch, TextCondition text, double scale = 1,
        IReadOnlyList<float>? weights = null)
    {
        using var scope = new TensorScope();
        return scope.Keep(Losses(model, batch, text, losses =>
        {
            var weighted = weights is null ? losses : losses * Tensor.From(weights.ToArray()).To(losses.Device);
            (weighted.Mean() * scale).Backward();
        }).Detach());
    }

    /// <summary>Loss of each sample, [rows], column by column; without gradients.</summary>
    /// <inheritdoc cref="Backward"/>
    public static Tensor Evaluate(PyramidTransformer model, FlowBatch batch, TextCondition text)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        return scope.Keep(Losses(model, batch, text, _ => { }));
    }

    /// <summary>Velocity of the noisy unit of each column, float32; without gradients.</summary>
    /// <inheritdoc cref="Backward"/>
    public static Tensor[] Velocities(PyramidTransformer model, FlowBatch batch, TextCondition text)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        return [.. model.Forward(batch.Stages, text, batch.Timesteps).Select(velocity => scope.Keep(velocity.To(ElementType.Float32)))];
    }

    // Recomputed blocks need the layouts in the backward pass.
    private static Tensor Losses(PyramidTransformer model, FlowBatch batch, TextCondition text, Action<Tensor> backward)
    {
        var count = batch.Columns.Count;
        SequenceLayout[] layouts = [.. batch.Stages.Select((clips, i) => model.Layout([.. clips.Select(ClipSize.Of)], text.Mask.Stage(i, count)))];
        try
        {
            var losses = FlowLoss.PerSample(model.Forward(batch.Stages, text, batch.Timesteps, layouts), batch);
            backward(losses);
            return losses;
        }
        finally
        {
            foreach (var layout in layouts)
                layout.Dispose();
        }
    }
}

/// <summary>Loss of a packed batch.</summary>
internal static class FlowLoss
{
    /// <summary>Mean squared error of each sample, independent of its resolution: float32 [rows], column by column.</summary>
    /// <param name="velocities">Predicted velocities of each column.</param>
    /// <param name="batch">The batch.</param>
    public static Tensor PerSample(IReadOnlyList<Tensor> velocities, FlowBatch batch)
    {
        using var scope = new TensorScope();
        var errors = batch.Columns.Select((column, i) =>
        {
            var difference = velocities[i].To(ElementType.Float32) - column.Target.To(ElementType.Float32);
            return (difference * difference).Mean([1, 2, 3, 4]);                                    // [b]
        });
        return scope.Keep(Tensor.Cat([.. errors], 0));
    }

    /// <summary>Mean over all samples; every sample counts the same at every stage.</summary>
    /// <inheritdoc cref="PerSample"/>
    public static Tensor Mean(IReadOnlyList<Tensor> velocities, FlowBatch batch)
    {
        using var scope = new TensorScope();
        return scope.Keep(PerSample(velocities, batch).Mean());
    }
}

/// <summary>
/// Weights losses by timestep so that all parts of the axis count the same: the inverse of a running mean of the loss in the
/// sample's timestep bucket (<c>video_vae/modeling_loss.py</c>).
/// </summary>
internal sealed class AdaptiveLossWeight
{
    private readonly float[] bounds;
    private readonly float[] losses;

    /// <summary>Starts with a mean of 1 in every bucket.</summary>
    /// <param name="low">Start of the axis.</param>
    /// <param name="high">End of the axis.</param>
    /// <param name="buckets">Number of buckets, at least 3: the first and the last hold values outside the axis.</param>
    public AdaptiveLossWeight(double low = 0, double high = 1, int buckets = 300)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(buckets, 3);
        bounds = [.. Enumerable.Range(0, buckets - 1).Select(i => (float)(low + ((high - low) * i / (buckets - 2))))];
        losses = [.. Enumerable.Repeat(1f, buckets)];
    }

    /// <summary>Smallest and largest weight.</summary>
    public (float Least, float Most) Range { get; init; } = (1e-7f, 1e7f);

    /// <summary>Running mean of each bucket, for checkpoints.</summary>
    public IReadOnlyList<float> BucketLosses => losses;

    /// <summary>Weight of each sample.</summary>
    public float[] Weights(IReadOnlyList<float> timesteps) =>
        [.. timesteps.Select(t => Math.Clamp(1 / losses[Bucket(t)], Range.Least, Range.Most))];

    /// <summary>Updates the means with the losses of a batch. If several samples share a bucket, the last one counts, as in the released code.</summary>
    /// <param name="timesteps">Timestep of each sample.</param>
    /// <param name="sampleLosses">Loss of each sample.</param>
    /// <param name="beta">Decay of the running mean, 0 to 1.</param>
    public void Update(IReadOnlyList<float> timesteps, IReadOnlyList<float> sampleLosses, double beta = 0.99)
    {
        var before = losses.ToArray();
        for (var i = 0; i < timesteps.Count; i++)
        {
            var bucket = Bucket(timesteps[i]);
            losses[bucket] = (float)((before[bucket] * beta) + (sampleLosses[i] * (1 - beta)));
        }
    }

    // Number of bounds below the timestep.
    private int Bucket(float timestep)
    {
        var index = Array.BinarySearch(bounds, timestep);
        return index < 0 ? ~index : index;
    }
}
