using System.Runtime.ExceptionServices;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Generation;

/// <summary>
/// A run, which several processes may make together. They leave it together too: what fails in one of them between the steps of sampling, such as the writing of frames, is kept
/// until all were asked to stop and have left, because the others would wait for a process that is gone. One process alone throws at once.
/// </summary>
internal sealed class CommonRun : IDisposable
{
    private readonly ProcessGroup? group;
    private readonly CommonStop? stops;
    private readonly CancellationToken cancellationToken;
    private readonly List<CancellationTokenRegistration> registrations = [];
    private Exception? fault;
    private bool isOver;

    /// <summary>Begins a run.</summary>
    /// <param name="group">The processes; null is this one alone.</param>
    /// <param name="cancellationToken">Stops the run, in all processes.</param>
    /// <exception cref="ProcessGroupException">An earlier run ended where the others could not know it.</exception>
    internal CommonRun(ProcessGroup? group, CancellationToken cancellationToken)
    {
        (this.group, stops, this.cancellationToken) = (group, group?.Stops, cancellationToken);
        stops?.Begin();
        AskOn(cancellationToken);
    }

    /// <summary>Whether this process wants to stop.</summary>
    internal bool IsStopping => fault is not null || cancellationToken.IsCancellationRequested;

    /// <summary>Whether something has failed in this process, whose result counts no more.</summary>
    internal bool HasFailed => fault is not null;

    /// <summary>Stops this process alone; never cancelled where there are several.</summary>
    internal CancellationToken Alone => stops is null ? cancellationToken : CancellationToken.None;

    /// <summary>Asks all processes to stop when a token is cancelled.</summary>
    internal void AskOn(CancellationToken token)
    {
        if (stops is not null)
            registrations.Add(token.Register(stops.Ask));
    }

    /// <summary>Does what no other process waits for.</summary>
    internal void Do(Action work)
    {
        if (stops is null)
        {
            work();
            return;
        }

        if (HasFailed)
            return;
        try
        {
            work();
        }
        catch (Exception e) when (e is not ProcessGroupException)
        {
            fault = e;
            stops.Ask();
        }
    }

    /// <summary>Does what no other process waits for; the result is null where it failed.</summary>
    internal T? Do<T>(Func<T?> work)
        where T : class
    {
        T? result = null;
        Do(() => { result = work(); });
        return result;
    }

    /// <summary>Adds the LoRAs of a clip, each process for itself. All of them leave the run where it fails in one.</summary>
    /// <param name="add">Adds them; null where this process needs none.</param>
    /// <returns>Takes them off.</returns>
    /// <exception cref="OperationCanceledException">It failed in a process; <see cref="Leave"/> gives the error to throw.</exception>
    internal IDisposable? AddLoras(Func<IDisposable?> add)
    {
        const int whole = 2, refused = 1, failed = 0;
        var result = Do(add);
        var least = group?.Least(!HasFailed ? whole : fault is CheckpointException { IsOfRequestedLora: true } ? refused : failed)[0] ?? whole;
        if (least == whole)
            return result;
        result?.Dispose();
        // A process that only decodes has no error of its own.
        if (least == refused)
            fault ??= CheckpointFault.LoraRefusedElsewhere();
        stops!.Follow();
        throw new OperationCanceledException("one of the processes that make the video together cannot add its LoRAs");
    }

    /// <summary>A report whose failure stops all processes.</summary>
    internal IProgress<T>? Guarded<T>(IProgress<T>? progress) => stops is null || progress is null ? progress : new GuardedProgress<T>(this, progress);

    /// <summary>Says that the last clip is sampled, and only the rest of the decoding is left.</summary>
    internal void Sampled() => stops?.PassLast();

    /// <summary>Ends the run after its last clip.</summary>
    internal void Complete()
    {
        isOver = true;
        stops?.End(isInStep: true);
        if (fault is not null)
            ExceptionDispatchInfo.Throw(fault);
    }

    /// <summary>Ends the run with an error.</summary>
    /// <returns>The error to throw in its place; null for itself.</returns>
    internal Exception? Leave(Exception error)
    {
        if (stops is null || isOver)
            return null;

        // All processes see the same numbers and the same request; anything else may have happened in this one alone.
        var isInStep = error is NonFiniteException or RequestException or ProcessGroupException { Code: ProcessGroupFault.DiffersCode }
            || (error is OperationCanceledException && stops.IsStopped);
        stops.End(isInStep);
        return error is OperationCanceledException ? fault
            : error is ProcessGroupException && cancellationToken.IsCancellationRequested ? new OperationCanceledException(cancellationToken)
            : null;
    }

    /// <inheritdoc/>
    public void Dispose() => registrations.ForEach(registration => registration.Dispose());

    private sealed class GuardedProgress<T>(CommonRun run, IProgress<T> progress) : IProgress<T>
    {
        public void Report(T value) => run.Do(() => progress.Report(value));
    }
}
