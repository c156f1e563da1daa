using System.Diagnostics;
using System.Globalization;

namespace PyramidFlow.Torch.Distributed;

/// <summary>
/// Lets all processes of a group leave a run before the same step, so that they stay in step and can begin the next run. While nobody asks for it, nothing is exchanged. Whoever
/// wants to stop writes so to the store; each process then halts before its next step and writes how many it has begun. All go on until they have begun as many as the one that is
/// furthest, and leave there: nobody waits for a step that another process left out.
/// </summary>
/// <param name="rendezvous">Rank of this process.</param>
/// <param name="options">Limit of waits.</param>
/// <param name="roll">Reads and writes the store, and looks from its thread whether a stop is asked for.</param>
internal sealed class CommonStop(Rendezvous rendezvous, GroupOptions options, RollCall roll)
{
    private const long Ended = long.MaxValue;
    private const int PollMilliseconds = 20;

    private readonly Lock gate = new();
    private long begun = Ended;
    private long? last;
    private int answered;
    private bool isHalted;

    /// <summary>Number of the current run, from 1, or of the last one; 0 before the first. All processes make the same runs.</summary>
    internal int Run { get; private set; }

    /// <summary>Whether a run ended where the other processes could not know it, so that nothing can be made together any more.</summary>
    internal bool IsBroken { get; private set; }

    /// <summary>Whether the current run was stopped.</summary>
    internal bool IsStopped { get; private set; }

    /// <summary>Whether no run has steps left, so that the processes have nothing to say to each other.</summary>
    internal bool IsIdle
    {
        get
        {
            lock (gate)
                return begun == Ended && !IsBroken;
        }
    }

    /// <summary>Begins a run.</summary>
    /// <exception cref="ProcessGroupException">An earlier run ended where the others could not know it.</exception>
    internal void Begin()
    {
        if (IsBroken)
            throw ProcessGroupFault.Broken(rendezvous.Rank);
        lock (gate)
            (Run, begun, last, isHalted, IsStopped) = (Run + 1, 0, null, false, false);
    }

    /// <summary>Says that this process has no steps left, though it has not ended the run yet.</summary>
    internal void PassLast()
    {
        lock (gate)
            begun = Ended;
    }

    /// <summary>Ends the run.</summary>
    /// <param name="isInStep">Whether the other processes end it at the same place.</param>
    internal void End(bool isInStep)
    {
        IsBroken |= !isInStep;
        PassLast();
    }

    /// <summary>Asks all processes to stop the current run. For any thread; harmless when repeated, or after the run.</summary>
    internal void Ask()
    {
        try
        {
            roll.Write(Key(Run), "");
        }
        catch (TorchException)
        {
            // The store is gone with the process that served it, which ends the run too.
        }
    }

    /// <summary>Begins the next step.</summary>
    /// <exception cref="OperationCanceledException">All processes leave the run here.</exception>
    /// <exception cref="ProcessGroupException">A process is gone.</exception>
    internal void Pass()
    {
        lock (gate)
        {
            if (!isHalted)
            {
                begun++;
                return;
            }
        }

        last ??= Decide();
        if (begun >= last)
        {
            IsStopped = true;
            throw new OperationCanceledException("the processes that make the video together were stopped");
        }

        begun++;
    }

    /// <summary>Marks the run as stopped, where another process said so in a message.</summary>
    internal void Follow() => IsStopped = true;

    /// <summary>Answers where a stop is asked for; called over and over by the thread that watches the store.</summary>
    internal void Look()
    {
        int run;
        lock (gate)
            run = Run;

        // Others may still be in the run before, which this process has ended.
        if (run > 1 && answered < run - 1 && roll.TryRead(Key(run - 1)) is not null)
        {
            roll.Write(Key(run - 1, rendezvous.Rank), Text(Ended));
            answered = run - 1;
        }

        if (run == 0 || answered >= run || roll.TryRead(Key(run)) is null)
            return;
        long position;
        lock (gate)
        {
            if (Run != run)
                return;
            (position, isHalted) = (begun, true);
        }

        roll.Write(Key(run, rendezvous.Rank), Text(position));
        answered = run;
    }

    // How many steps all processes begin: as many as the furthest one had begun when it halted.
    private long Decide()
    {
        var positions = new long?[rendezvous.WorldSize];
        var begin = Stopwatch.GetTimestamp();
        while (true)
        {
            for (var rank = 0; rank < positions.Length; rank++)
                positions[rank] ??= roll.TryRead(Key(Run, rank)) is { } text ? long.Parse(text, CultureInfo.InvariantCulture) : null;
            if (!positions.Contains(null))
                return positions.Max()!.Value;
            roll.ThrowIfEnded();
            if (Stopwatch.GetElapsedTime(begin) > options.Limit)
                throw roll.Explain(new TorchException("the processes did not agree where to stop"));
            Thread.Sleep(PollMilliseconds);
        }
    }

    private static string Key(int run) => $"stop/{Text(run)}";

    private static string Key(int run, int rank) => $"stop/{Text(run)}/{Text(rank)}";

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
