using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

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
                other.Value = original.Value.Detached();
        }
    }
}

/// <summary>Where a configuration says to compute.</summary>
internal static class TrainingDevice
{
    /// <summary>The device; of several processes on one machine each takes the GPU of its number, unless one is named.</summary>
    /// <param name="name"><c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</param>
    /// <param name="group">The processes, or null for one.</param>
    /// <exception cref="ArgumentException">There is no such device.</exception>
    internal static Device For(string name, ProcessGroup? group)
    {
        var device = Device.Parse(name);
        if (device.Type == DeviceType.Cuda && !TorchRuntime.HasCuda)
            throw new ArgumentException($"device {name}: this libtorch sees no GPU, use cpu (doctor says more)");
        return device is { Type: DeviceType.Cuda, Index: < 0 } && group is not null ? new Device(DeviceType.Cuda, group.LocalRank) : device;
    }
}

/// <summary>Work that several processes share the result of.</summary>
internal static class ProcessGroupExtensions
{
    /// <summary>Runs something that makes a file if it is not there: the first process before all others, who find it made.</summary>
    /// <param name="group">The processes, or null for one.</param>
    /// <param name="openOrMake">What to run.</param>
    internal static T RankZeroFirst<T>(this ProcessGroup? group, Func<T> openOrMake)
    {
        if (group is { Rank: > 0 })
            group.Barrier();
        var result = openOrMake();
        if (group is { Rank: 0 })
            group.Barrier();
        return result;
    }
}
