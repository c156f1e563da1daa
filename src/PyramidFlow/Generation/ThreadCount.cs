using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>A number of threads for the operators of this thread, until it is disposed.</summary>
internal readonly struct ThreadCount : IDisposable
{
    private readonly int before = TorchRuntime.Threads;

    /// <param name="threads">At least 1.</param>
    public ThreadCount(int threads) => TorchRuntime.UseThreads(threads);

    /// <inheritdoc/>
    public void Dispose() => TorchRuntime.UseThreads(before);
}
