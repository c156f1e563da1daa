using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>The queue at one moment: who waits behind whom, and about how long.</summary>
internal sealed class QueueView
{
    private readonly Dictionary<string, (int Position, double? Seconds)> waiting = [];

    /// <param name="entries">What waits and runs, in order.</param>
    /// <param name="pace">Work and seconds of the videos finished last.</param>
    public QueueView(IReadOnlyList<QueueEntry> entries, IReadOnlyList<(double Work, double Seconds)> pace)
    {
        var secondsOfWork = pace.Sum(made => made.Work) is > 0 and var work ? pace.Sum(made => made.Seconds) / work : (double?)null;
        var running = entries.Where(entry => entry.Runs).ToList();
        Running = running.Count;
        var ahead = running.Sum(entry => entry.SecondsLeft ?? secondsOfWork * entry.Work);
        foreach (var entry in entries.Where(entry => !entry.Runs))
        {
            ahead += secondsOfWork * entry.Work;
            // As many workers as have something to do share what waits.
            waiting[entry.Id] = (waiting.Count + 1, ahead is { } seconds ? Math.Round(seconds / Math.Max(1, running.Count)) : null);
        }
    }

    /// <summary>Jobs that are being made.</summary>
    public int Running { get; }

    /// <summary>Jobs that wait.</summary>
    public int Waiting => waiting.Count;

    /// <summary>Whether a job is known to wait.</summary>
    public bool Has(string id) => waiting.ContainsKey(id);

    /// <summary>The job with its place and the time that is left.</summary>
    public VideoJob Place(VideoJob job) => job.Status switch
    {
        VideoStatus.Queued when waiting.TryGetValue(job.Id, out var place) => job with { QueuePosition = place.Position, SecondsLeft = place.Seconds },
        VideoStatus.InProgress => job with { SecondsLeft = job.Progress?.SecondsLeft },
        _ => job,
    };
}
