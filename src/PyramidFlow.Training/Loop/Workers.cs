using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>Threads that each compute a part of every batch. Every worker has the network with shared weights and its own gradients.</summary>
/// <typeparam name="T">Type of the network.</typeparam>
internal sealed class Workers<T> : IDisposable
    where T : Module
{
    private readonly T[] models;
    private readonly FlatParameters parameters;
    private readonly FlatParameters[] sharers;

    /// <summary>Creates the networks of all workers.</summary>
    /// <param name="model">Network of the first worker; <paramref name="parameters"/> holds its weights.</param>
    /// <param name="parameters">Weights and the sum of all gradients; the caller keeps ownership.</param>
    /// <param name="count">Number of workers, at least 1.</param>
    /// <param name="declare">Creates another network with the same trainable weights; their values are not needed.</param>
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

    /// <summary>Network of the first worker.</summary>
    internal T Model => models[0];

    /// <summary>Runs all workers, then sums their gradients in a fixed order.</summary>
    /// <param name="gradients">Work of one worker, given its index and network; runs backward.</param>
    /// <returns>The result of every worker.</returns>
    internal TResult[] Run<TResult>(Func<int, T, TResult> gradients)
    {
        var results = new TResult[Count];
        // A thread that has computed before keeps its old thread count, and another count changes the bits of the result.
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

    // Share the tables that training does not change.
    private static void ShareFixed(T model, T copy)
    {
        foreach (var ((_, original), (_, other)) in model.NamedParameters().Zip(copy.NamedParameters()))
        {
            if (!original.Trainable && !other.HasValue)
                other.Value = original.Value.Detach();
        }
    }
}

/// <summary>Selects the device of a configuration.</summary>
internal static class TrainingDevice
{
    /// <summary>Parses a device; with several processes on one machine, <c>cuda</c> is the GPU of the local rank.</summary>
    /// <param name="name"><c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</param>
    /// <param name="group">Process group; null is a single process.</param>
    /// <exception cref="TrainingException">The device does not exist.</exception>
    internal static Device For(string name, ProcessGroup? group)
    {
        var device = Parse(name);
        if (device.Type == DeviceType.Cuda && !TorchRuntime.HasCuda)
            throw TrainingFault.NoGpu(name);
        return device is { Type: DeviceType.Cuda, Index: < 0 } && group is not null ? new Device(DeviceType.Cuda, group.LocalRank) : device;
    }

    /// <summary>Parses the name of a device.</summary>
    /// <exception cref="TrainingException">There is no such name.</exception>
    internal static Device Parse(string name)
    {
        try
        {
            return Device.Parse(name);
        }
        catch (FormatException e)
        {
            throw TrainingFault.UnknownDevice(name, e);
        }
    }
}

/// <summary>Extensions of process groups.</summary>
internal static class ProcessGroupExtensions
{
    /// <summary>Runs a function on rank zero first, then on all other ranks, which find the file that it made.</summary>
    /// <param name="group">Process group; null is a single process.</param>
    /// <param name="openOrMake">Opens a file, and creates it first if it is missing.</param>
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
