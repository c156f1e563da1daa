using PyramidFlow.Torch;

namespace PyramidFlow.Training.Dit;

/// <summary>The loss of a packed batch.</summary>
public static class FlowLoss
{
    /// <summary>Mean squared error of each sample, whatever its resolution: float32 [rows], column after column.</summary>
    /// <param name="velocities">What the transformer predicts for each column.</param>
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

    /// <summary>The mean over all samples: a sample counts the same at every stage.</summary>
    /// <inheritdoc cref="PerSample"/>
    public static Tensor Mean(IReadOnlyList<Tensor> velocities, FlowBatch batch)
    {
        using var scope = new TensorScope();
        return scope.Keep(PerSample(velocities, batch).Mean());
    }
}
