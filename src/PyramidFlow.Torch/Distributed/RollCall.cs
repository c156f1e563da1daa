using System.Diagnostics;
using System.Globalization;

namespace PyramidFlow.Torch.Distributed;

/// <summary>
/// Finds out which process is the cause when a call of a group fails. Each process watches the store from a thread of its own: where
/// one calls the roll, all that live write which call they are at. Who does not answer is gone; who is at another call is out of step.
/// </summary>
internal sealed class RollCall : IDisposable
{
    private const string Called = "roll/called";
    private const string FirstFault = "fault";

    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan AnswerTime = TimeSpan.FromSeconds(3);

    private readonly KeyValueStore store;
    private readonly Rendezvous rendezvous;
    private readonly Func<string> currentCall;
    private readonly Action look;
    private readonly ManualResetEventSlim stop = new();                           // its handle is never made, so nothing is to be freed
    private readonly Thread thread;
    private readonly Lock gate = new();
    private bool isRecorded;
    private bool isFailed;

    /// <summary>Begins to watch.</summary>
    /// <param name="store">Connection to the store for this object alone; it is closed with it.</param>
    /// <param name="rendezvous">Rank of this process, and who serves the store.</param>
    /// <param name="currentCall">The call that this process is at, such as <c>AllReduce 3 of 40 bytes</c>.</param>
    /// <param name="look">What else to look for in the store each time.</param>
    internal RollCall(KeyValueStore store, Rendezvous rendezvous, Func<string> currentCall, Action look)
    {
        (this.store, this.rendezvous, this.currentCall, this.look) = (store, rendezvous, currentCall, look);
        thread = new Thread(Watch) { IsBackground = true, Name = "roll call" };
        thread.Start();
    }

    private int Rank => rendezvous.Rank;

    /// <summary>The value of a key, or null where it has none yet.</summary>
    internal string? TryRead(string key)
    {
        lock (gate)
            return store.TryGet(key);
    }

    /// <summary>Sets the value of a key.</summary>
    internal void Write(string key, string value)
    {
        lock (gate)
            store.Set(key, value);
    }

    /// <summary>Writes that this process ends with an error, so that the others can say why. Only the first error of a group is kept.</summary>
    /// <param name="error">The error.</param>
    internal void Record(Exception error)
    {
        try
        {
            lock (gate)
            {
                if (store.TryGet(FirstFault) is not null)
                    return;
                isRecorded = isFailed = true;

                // The processes themselves are at fault, or what this one does.
                var (code, at) = error is ProcessGroupException fault ? (fault.Code, (int?)fault.Parameters.GetValueOrDefault("rank") ?? Rank) : ("", Rank);
                store.Set(FirstFault, string.Create(CultureInfo.InvariantCulture, $"{at}\t{code}\t{error.Message}"));
            }
        }
        catch (TorchException)
        {
            // The store went with the process that served it; the others know from their own connection.
        }
    }

    /// <summary>Throws the error that another process recorded, if there is one.</summary>
    internal void ThrowIfEnded()
    {
        string? fault;
        lock (gate)
            fault = isRecorded ? null : store.TryGet(FirstFault);
        if (fault?.Split('\t', 3) is [var number, var code, var sentence] && int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var other))
            throw code.Length == 0 ? ProcessGroupFault.Ended(other, sentence) : ProcessGroupFault.Repeated(code, other, sentence);
    }

    /// <summary>The error behind a failed call.</summary>
    /// <param name="cause">The error of libtorch.</param>
    internal ProcessGroupException Explain(TorchException cause)
    {
        try
        {
            isFailed = true;
            ThrowIfEnded();
            lock (gate)
                store.Set(Called, "");
            var begin = Stopwatch.GetTimestamp();
            var answers = new string?[rendezvous.WorldSize];
            while (Stopwatch.GetElapsedTime(begin) < AnswerTime && answers.Contains(null))
            {
                Thread.Sleep(50);
                lock (gate)
                {
                    for (var other = 0; other < answers.Length; other++)
                        answers[other] ??= other == Rank ? currentCall() : store.TryGet(Answer(other));
                }
            }

            ThrowIfEnded();
            var fault = Array.IndexOf(answers, null) is >= 0 and var gone ? ProcessGroupFault.Gone(gone, cause)
                : answers.Index().FirstOrDefault(answer => answer.Item != answers[Rank]) is { Item: { } call, Index: var apart } ? ProcessGroupFault.OutOfStep(apart, call, answers[Rank]!)
                : ProcessGroupFault.Disconnected(cause);
            Record(fault);
            return fault;
        }
        catch (ProcessGroupException recorded)
        {
            lock (gate)
                store.Set(Heard(Rank), "");
            return recorded;
        }
        catch (TorchException)
        {
            return rendezvous is { StoreFile: null, IsServed: false } ? ProcessGroupFault.Gone(0, cause) : ProcessGroupFault.Disconnected(cause);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (stop.IsSet)
            return;
        stop.Set();
        thread.Join();
        if (isFailed && rendezvous is { Rank: 0, StoreFile: null, IsServed: false })
            WaitUntilHeard();
        store.Dispose();
    }

    // The store goes with the process that serves it, and with it what the others should hear.
    private void WaitUntilHeard()
    {
        var begin = Stopwatch.GetTimestamp();
        try
        {
            while (Stopwatch.GetElapsedTime(begin) < AnswerTime && Enumerable.Range(1, rendezvous.WorldSize - 1).Any(other => store.TryGet(Heard(other)) is null))
                Thread.Sleep(50);
        }
        catch (TorchException)
        {
            // There is no store any more.
        }
    }

    private static string Heard(int rank) => string.Create(CultureInfo.InvariantCulture, $"heard/{rank}");

    private static string Answer(int rank) => string.Create(CultureInfo.InvariantCulture, $"roll/{rank}");

    private void Watch()
    {
        try
        {
            for (var hasAnswered = false; !stop.Wait(Interval); look())
            {
                if (hasAnswered || TryRead(Called) is null)
                    continue;
                Write(Answer(Rank), currentCall());
                hasAnswered = true;
            }
        }
        catch (TorchException)
        {
            // The process that serves the store is gone: the next call of this process fails and says so.
        }
    }
}
