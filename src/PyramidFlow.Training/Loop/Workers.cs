using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>
/// Threads that each compute a part of every batch: each has the network with the same weights but gradients of its own.
/// </summary>
/// <typeparam name="T">The network.</typeparam>
internal sealed class Workers<T> : IDisposable
    where T : Module
{
    private readonly T[] models;
    private readonly FlatParameters parameters;
    private readonly FlatParameters[] sharers;

    /// <summary>Makes the copies.</summary>
    /// <param name="model">The first worker's network, of which <paramref name="parameters"/> holds the weights.</param>
    /// <param name="parameters">Weights, and the gradients that all workers' are added to; the caller's.</param>
    /// <param name="count">Number of workers, at least 1.</param>
    /// <param name="declare">Another such network, of which the same weights are trainable; its trained weights need no values.</param>
    internal Workers(T model, FlatParameters parameters, int count, Func<T> declare)
    {
        this.parameters = parameters;
        models = [model, .. Enumerable.Range(1, count - 1).Select(_ => declare())];
        foreach (var copy in models.Skip(1))
            ShareFixed(model, copy);
        sharers = [.. models.Skip(1).Select(copy => parameters.Share(("", copy)))];
    }

    /// <summary>Number of workers.</summary>
    internal int Count => models.Length;

    /// <summary>The first worker's network.</summary>
    internal T Model => models[0];

    /// <summary>Runs all workers, then adds their gradients up in a fixed order.</summary>
    /// <param name="gradients">A worker's part: given its number and network, ends in backward.</param>
    /// <returns>What each gave.</returns>
    internal TResult[] Run<TResult>(Func<int, T, TResult> gradients)
    {
        var results = new TResult[Count];
        // A thread that has computed before keeps the number of threads of then, and another number gives other bits.
        var threads = TorchRuntime.Threads;
        Parallel.For(0, Count, new ParallelOptions { MaxDegreeOfParallelism = Count }, worker =>
        {
            TorchRuntime.Threads = threads;
            results[worker] = gradients(worker, models[worker]);
        });
        using var scope = new TensorScope();
        parameters.Collect(sharers);
        return results;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var sharer in sharers)
            sharer.Dispose();
        foreach (var model in models)
            model.Dispose();
    }

    // Tables that no training changes lie in memory once.
    private static void ShareFixed(T model, T copy)
    {
        foreach (var ((_, original), (_, other)) in model.NamedParameters().Zip(copy.NamedParameters()))
        {
            if (!original.Trainable && !other.HasValue)
                other.Value = original.Value.Detach();
        }
    }
}
