namespace PyramidFlow.Training.Loop;

/// <summary>What a run tells: JSON lines, event files and a summary.</summary>
public sealed class RunLog : IDisposable
{
    private readonly RunFolder folder;
    private readonly MetricsFile metrics;
    private readonly EventFile events;

    /// <summary>Opens the files of a run that goes on from a step.</summary>
    public RunLog(RunFolder folder, long from)
    {
        this.folder = folder;
        metrics = new MetricsFile(folder.File("metrics.jsonl"), from);
        events = new EventFile(folder.File(""), from);
    }

    /// <summary>Adds values to the JSON lines and the curves.</summary>
    public void Add(long step, IReadOnlyList<(string Name, double Value)> values)
    {
        metrics.Add(step, values);
        events.Scalars(step, values);
    }

    /// <summary>Adds a picture that lies in a PNG file.</summary>
    public void Picture(long step, string name, string path) => events.Image(step, name, File.ReadAllBytes(path));

    /// <summary>Writes the summary.</summary>
    public void Summarize(RunSummary summary) => summary.Write(folder.File("summary.txt"));

    /// <inheritdoc/>
    public void Dispose() => events.Dispose();
}
