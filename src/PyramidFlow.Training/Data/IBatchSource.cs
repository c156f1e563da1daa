namespace PyramidFlow.Training.Data;

/// <summary>Batches by step, read ahead in the background.</summary>
/// <typeparam name="T">A batch.</typeparam>
public interface IBatchSource<out T> : IDisposable
{
    /// <summary>What every step has.</summary>
    BatchPlan Plan { get; }

    /// <summary>The items that could not be used so far.</summary>
    FaultLog Faults { get; }

    /// <summary>
    /// The batch of a step: the same for the same step, whatever was asked before. Asking for steps one after another finds
    /// them read already. Its tensors belong to the caller's scope.
    /// </summary>
    /// <param name="step">From 0.</param>
    /// <param name="cancel">Stops the waiting.</param>
    /// <exception cref="DataException">(Nearly) all items of the step's bucket turned out bad.</exception>
    T Batch(long step, CancellationToken cancel = default);
}
