using System.Collections.Concurrent;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Decodes units on a thread of its own while the next ones are sampled. On a GPU both threads queue their work on the same
/// stream, which does it in the order asked for: decoding fills the time in which the GPU waits for the next of sampling's many
/// small operations.
/// </summary>
internal sealed class OverlappedDecoding : UnitDecoding
{
    private const int PollMilliseconds = 100;

    private readonly BlockingCollection<(int Unit, Tensor Latents)> waiting = [];
    private readonly CancellationTokenSource stop;
    private readonly Task working;
    private volatile int decoded;
    private int told;

    /// <summary>Begins to wait for units; operators take as many threads as this thread's do.</summary>
    internal OverlappedDecoding(ClipOutput output, ProgressMeter meter, CancellationToken cancel)
        : base(output, meter, cancel)
    {
        stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var threads = TorchRuntime.Threads;
        working = Task.Factory.StartNew(() => Decode(threads), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    internal override CancellationToken Stopped => stop.Token;

    internal override void Add(int unit, Tensor latents)
    {
        waiting.Add((unit, TensorScope.Release(latents.Clone())), CancellationToken.None);
        Tell();
    }

    internal override void Complete()
    {
        waiting.CompleteAdding();
        Meter.Begin(GenerationPhase.Decoding, decoded);
        while (Task.WaitAny([working], PollMilliseconds) < 0)
            Tell();
        working.GetAwaiter().GetResult();
        Tell();
    }

    internal override void ThrowIfFailed()
    {
        if (stop.IsCancellationRequested)
            working.GetAwaiter().GetResult();
    }

    public override void Dispose()
    {
        stop.Cancel();
        waiting.CompleteAdding();
        Task.WaitAny(working);
        _ = working.Exception;                                                                       // thrown where it was asked for
        while (waiting.TryTake(out var unit))
            unit.Latents.Dispose();
        waiting.Dispose();
        stop.Dispose();
    }

    private void Decode(int threads)
    {
        try
        {
            TorchRuntime.UseThreads(threads);
            using var noGrad = NoGrad.Begin();
            foreach (var (unit, latents) in waiting.GetConsumingEnumerable(stop.Token))
            {
                using (latents)
                    Output.Add(unit, latents, stop.Token);
                decoded = unit + 1;
            }
        }
        catch
        {
            stop.Cancel();
            throw;
        }
    }

    private void Tell()
    {
        for (; told < decoded; told++)
            Meter.Decoded(told);
    }
}
