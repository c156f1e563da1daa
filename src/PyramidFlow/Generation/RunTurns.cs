namespace PyramidFlow.Generation;

/// <summary>
/// Whose turn it is with a pipeline's models: one run at a time, the others wait. A run that is begun where the frames of another are read, or
/// where its progress is told, would wait for itself and is refused instead.
/// </summary>
internal sealed class RunTurns
{
    private readonly SemaphoreSlim gate = new(1);

    // Of the code that reads frames: it follows that code from thread to thread, and whatever it starts.
    private readonly AsyncLocal<Turn?> inner = new();

    private volatile int worker;

    /// <summary>Whether this is the thread that makes the frames, such as in a report of progress.</summary>
    internal bool IsWorking => worker == Environment.CurrentManagedThreadId;

    /// <summary>Begins to read, which is refused later where this code is reading another run already (<see cref="Enter"/>).</summary>
    internal Turn Open() => inner.Value = new Turn(inner.Value);

    /// <summary>Ends the reading of a run: the code that read it belongs to the outer run again, or to none.</summary>
    internal void Close(Turn turn)
    {
        if (inner.Value == turn)
            inner.Value = turn.Outer;
    }

    /// <summary>Marks a run as begun.</summary>
    /// <exception cref="InvalidOperationException">It is begun inside another one.</exception>
    internal void Enter(Turn turn)
    {
        for (var outer = inner.Value == turn ? turn.Outer : inner.Value; outer is not null; outer = outer.Outer)
        {
            if (outer.IsActive)
                throw new InvalidOperationException("this pipeline is in the midst of another run, whose frames or progress this code takes: end that run first, or load a second pipeline");
        }

        turn.IsActive = true;
    }

    /// <summary>Waits for the models.</summary>
    internal Task WaitAsync(CancellationToken cancel) => gate.WaitAsync(cancel);

    /// <summary>Does the work of a run whose turn it is, on this thread, and lets the next one have the models.</summary>
    internal void Work(Action work)
    {
        worker = Environment.CurrentManagedThreadId;
        try
        {
            work();
        }
        finally
        {
            worker = 0;
            gate.Release();
        }
    }

    /// <summary>Does a whole run on this thread.</summary>
    /// <exception cref="InvalidOperationException">It is begun inside another one.</exception>
    internal T Do<T>(Func<T> work, CancellationToken cancel)
    {
        var turn = Open();
        try
        {
            Enter(turn);
            gate.Wait(cancel);
            var result = default(T);
            Work(() => result = work());
            return result!;
        }
        finally
        {
            turn.IsActive = false;
            Close(turn);
        }
    }

    /// <summary>One run, and the one that it was begun in.</summary>
    internal sealed class Turn(Turn? outer)
    {
        /// <summary>The run whose frames the same code reads; null where there is none.</summary>
        internal Turn? Outer => outer;

        /// <summary>Whether it has begun and is not over.</summary>
        internal bool IsActive { get; set; }
    }
}
