using System.Threading.Channels;

namespace PyramidFlow.Generation;

/// <summary>
/// A generation. Enumerating it starts it and returns its frames unit by unit, while later ones are still being made. It
/// works on a thread of its own; leaving the enumeration early stops it within one step. It can be enumerated once.
/// </summary>
public sealed class GenerationRun : IAsyncEnumerable<VideoChunk>
{
    // One chunk waits while the next is made; more would only use memory when the reader is slow.
    private const int ChunksAhead = 1;

    private readonly RunTurns turns;
    private readonly Work work;
    private readonly CancellationToken[] cancels;
    private readonly Lock warnings = new();
    private int readers;

    internal GenerationRun(IReadOnlyList<GenerationSettings> items, RunTurns turns, Work work, params CancellationToken[] cancels)
    {
        Items = items;
        Warnings = Known();
        (this.turns, this.work, this.cancels) = (turns, work, cancels);
    }

    /// <summary>Makes the frames.</summary>
    /// <param name="warn">Takes warnings for the user.</param>
    /// <param name="write">Takes finished frames; waits while the reader is behind.</param>
    /// <param name="cancellationToken">Stops it within one step.</param>
    internal delegate void Work(Action<string> warn, Action<VideoChunk> write, CancellationToken cancellationToken);

    /// <summary>The resolved settings of each video, with its own seed.</summary>
    public IReadOnlyList<GenerationSettings> Items { get; }

    /// <summary>Whether several processes make it, which must all begin it to know that it is stopped.</summary>
    internal bool IsCommon { get; init; }

    /// <summary>Begins to measure it; null where that is not wanted.</summary>
    internal Func<TelemetrySpan>? Measure { get; init; }

    /// <summary>The first of <see cref="Items"/>.</summary>
    public GenerationSettings Settings => Items[0];

    /// <summary>
    /// Warnings for the user, each once. Those that follow from the request are there from the start; others, such as that the
    /// prompt was cut, are added during the run.
    /// </summary>
    public IReadOnlyList<string> Warnings { get; private set; }

    /// <summary>Starts the run when the first frame is asked for; one at a time of a pipeline, the others wait.</summary>
    /// <param name="cancellationToken">Stops it within one step.</param>
    /// <exception cref="InvalidOperationException">
    /// It was enumerated before; or, with the first frame, it is begun in the loop of another run of the same pipeline, which could never end.
    /// </exception>
    public IAsyncEnumerator<VideoChunk> GetAsyncEnumerator(CancellationToken cancellationToken = default) => Interlocked.Exchange(ref readers, 1) == 0
        ? new Reader(turns, MakeAsync(cancellationToken))
        : throw new InvalidOperationException("this run was enumerated before: keep its frames, or call GenerateAsync again to make them again");

    private async IAsyncEnumerator<VideoChunk> MakeAsync(CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource([cancellationToken, .. cancels]);
        var token = stop.Token;
        await turns.WaitAsync(IsCommon ? CancellationToken.None : token).ConfigureAwait(false);
        using var telemetry = Measured();
        var chunks = Channel.CreateBounded<VideoChunk>(new BoundedChannelOptions(ChunksAhead) { SingleReader = true, SingleWriter = true });
        // Scopes of tensors belong to a thread, so the whole work stays on one.
        Exception? fault = null;
        var working = Task.Factory.StartNew(() => turns.Work(() => fault = Run(chunks.Writer, token)), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        try
        {
            await foreach (var chunk in chunks.Reader.ReadAllAsync(CancellationToken.None).ConfigureAwait(false))
            {
                telemetry?.Frames(chunk.Count);
                yield return chunk;
            }
        }
        finally
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await working.ConfigureAwait(false);
            telemetry?.End(fault);
        }
    }

    // Listeners of traces and metrics are code of the program: one that throws ends this run, and the next one begins.
    private TelemetrySpan? Measured()
    {
        try
        {
            return Measure?.Invoke();
        }
        catch
        {
            turns.Work(() => { });
            throw;
        }
    }

    // An error reaches the reader through the channel, after the frames made before it.
    private Exception? Run(ChannelWriter<VideoChunk> writer, CancellationToken cancellationToken)
    {
        Exception? fault = null;
        try
        {
            Warnings = Known();
            work(Warn, chunk => writer.WriteAsync(chunk, cancellationToken).AsTask().GetAwaiter().GetResult(), cancellationToken);
        }
        catch (Exception e)
        {
            fault = e;
        }

        writer.Complete(fault);
        return fault;
    }

    // Called from the sampling thread and, with overlapped decoding, from the decoding thread.
    private void Warn(string warning)
    {
        lock (warnings)
            Warnings = [.. Warnings.Append(warning).Distinct()];
    }

    private IReadOnlyList<string> Known() => [.. Items.SelectMany(item => item.Warnings).Distinct()];

    // A value that an async method sets in an AsyncLocal is lost when the method returns to its caller. RunTurns.Open, Enter and Close set such a value for
    // the code that reads, so they are called from the parts of these methods that are not async.
    private sealed class Reader(RunTurns turns, IAsyncEnumerator<VideoChunk> chunks) : IAsyncEnumerator<VideoChunk>
    {
        private readonly RunTurns.Turn turn = turns.Open();
        private bool begun;

        public VideoChunk Current => chunks.Current;

        public async ValueTask<bool> MoveNextAsync()
        {
            if (!begun)
                turns.Enter(turn);
            begun = true;
            var more = false;
            try
            {
                return more = await chunks.MoveNextAsync().ConfigureAwait(false);
            }
            finally
            {
                turn.IsActive = more;
            }
        }

        public ValueTask DisposeAsync()
        {
            turns.Close(turn);
            return EndAsync();
        }

        private async ValueTask EndAsync()
        {
            await chunks.DisposeAsync().ConfigureAwait(false);
            turn.IsActive = false;
        }
    }
}

/// <summary>
/// Queues the runs of a pipeline: one uses the models at a time, the others wait. A run that is started inside the loop over another run's frames,
/// or inside its progress report, would wait for itself and is refused instead.
/// </summary>
internal sealed class RunTurns
{
    private readonly SemaphoreSlim gate = new(1);

    // Belongs to the code that reads frames: it flows with that code across threads and into the tasks it starts.
    private readonly AsyncLocal<Turn?> inner = new();

    private volatile int worker;

    /// <summary>Whether this is the thread that makes the frames, for example inside a progress report.</summary>
    internal bool IsWorking => worker == Environment.CurrentManagedThreadId;

    /// <summary>Starts to read a run; <see cref="Enter"/> refuses it later if this code is reading another run already.</summary>
    internal Turn Open() => inner.Value = new Turn(inner.Value);

    /// <summary>Ends the reading of a run: the calling code belongs to the outer run again, or to none.</summary>
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
    internal Task WaitAsync(CancellationToken cancellationToken) => gate.WaitAsync(cancellationToken);

    /// <summary>Does the work of a run whose turn it is on this thread, then releases the models.</summary>
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
    internal T Do<T>(Func<T> work, CancellationToken cancellationToken)
    {
        var turn = Open();
        try
        {
            Enter(turn);
            gate.Wait(cancellationToken);
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

/// <summary>Consecutive decoded frames of a video.</summary>
/// <param name="FirstFrame">Number of its first frame in its clip.</param>
/// <param name="Count">Number of frames.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Rgb">Interleaved bytes, frame after frame: Count x Height x Width x 3.</param>
public sealed record VideoChunk(int FirstFrame, int Count, int Width, int Height, ReadOnlyMemory<byte> Rgb)
{
    /// <summary>Which clip of the run it belongs to, from 0.</summary>
    public int Item { get; init; }

    /// <summary>
    /// The latents of these frames; the chunks of a clip joined (<see cref="LatentClip.Join"/>) give its latents. Null for given
    /// frames that condition nothing.
    /// </summary>
    public LatentClip? Latents { get; init; }
}
