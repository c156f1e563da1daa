namespace PyramidFlow.Torch;

/// <summary>Exponential moving average (EMA) of a weight vector, float32.</summary>
public sealed class ExponentialAverage : IDisposable
{
    /// <summary>Starts from the present weights.</summary>
    /// <param name="parameters">Whose weights to average.</param>
    /// <param name="device">Where to keep the average; null is where the weights are.</param>
    public ExponentialAverage(FlatParameters parameters, Device? device = null)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        Values = TensorScope.Release(parameters.Values.To(device ?? parameters.Values.Device).Clone());
    }

    /// <summary>The average, float32 [n].</summary>
    public Tensor Values { get; }

    /// <summary>Moves the average towards the weights.</summary>
    /// <param name="parameters">The weights.</param>
    /// <param name="decay">Share of the average that stays, in [0, 1).</param>
    public void Update(FlatParameters parameters, double decay)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        Values.LerpInPlace(parameters.Values.To(Values.Device), 1 - decay);
    }

    /// <summary>
    /// Exchanges weights and average: evaluate or save the averaged model between two calls.
    /// </summary>
    public void Swap(FlatParameters parameters)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var held = parameters.Values.Clone();
        parameters.Values.CopyFrom(Values);
        Values.CopyFrom(held);
        parameters.Refresh();
    }

    /// <inheritdoc/>
    public void Dispose() => Values.Dispose();
}
