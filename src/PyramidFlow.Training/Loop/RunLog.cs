using System.Diagnostics;
using System.Globalization;
using System.Text;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>Log of a run: JSON lines, TensorBoard event files and a summary.</summary>
internal sealed class RunLog : IDisposable
{
    private readonly RunFolder folder;
    private readonly MetricsFile metrics;
    private readonly EventFile events;

    /// <summary>Opens the files of a run that resumes at a step.</summary>
    public RunLog(RunFolder folder, long from)
    {
        this.folder = folder;
        metrics = new MetricsFile(folder.File("metrics.jsonl"), from);
        events = new EventFile(folder.File(""), from);
    }

    /// <summary>Adds values to the JSON lines and the event file.</summary>
    public void Add(long step, IReadOnlyList<(string Name, double Value)> values)
    {
        metrics.Add(step, values);
        events.Scalars(step, values);
    }

    /// <summary>Adds a PNG file to the event file.</summary>
    public void Picture(long step, string name, string path) => events.Image(step, name, File.ReadAllBytes(path));

    /// <summary>Writes the summary.</summary>
    public void Summarize(RunSummary summary) => summary.Write(folder.File("summary.txt"));

    /// <inheritdoc/>
    public void Dispose() => events.Dispose();
}

/// <summary>Short report on the state of a run for people: <c>summary.txt</c>.</summary>
internal sealed record RunSummary
{
    private const double Mebibyte = 1 << 20;

    /// <summary>Number of completed steps.</summary>
    public long Step { get; init; }

    /// <summary>Number of steps of the whole run.</summary>
    public long Steps { get; init; }

    /// <summary>Mean time of a recent step in seconds; 0 if there was none.</summary>
    public double SecondsPerStep { get; init; }

    /// <summary>Recent throughput of all processes.</summary>
    public double TokensPerSecond { get; init; }

    /// <summary>Number of steps that the spike guard skipped.</summary>
    public long Skipped { get; init; }

    /// <summary>Step of the newest state, or null.</summary>
    public long? Checkpoint { get; init; }

    /// <summary>Latest losses.</summary>
    public IReadOnlyList<(string Name, double Value)> Losses { get; init; } = [];

    /// <summary>Latest losses of held-out items.</summary>
    public IReadOnlyList<(string Name, double Value)> HeldOut { get; init; } = [];

    /// <summary>Measurements of the latest checkpoint.</summary>
    public IReadOnlyList<(string Name, double Value)> Measured { get; init; } = [];

    /// <summary>The weights with the least loss of held-out items so far, or null.</summary>
    public BestWeights? Best { get; init; }

    /// <summary>The newest contact sheet, or null.</summary>
    public string? Samples { get; init; }

    /// <summary>Writes the file. An existing file is replaced when the new one is complete.</summary>
    public void Write(string path)
    {
        var partial = $"{path}.partial-{Environment.ProcessId}";
        File.WriteAllText(partial, Text());
        File.Move(partial, path, overwrite: true);
    }

    private string Text()
    {
        var text = new StringBuilder();
        Line($"step            {Step} of {Steps} ({100.0 * Step / Steps:F1}%)");
        Line($"time            {SecondsPerStep:F3} s a step, {TimeSpan.FromSeconds(Math.Round((Steps - Step) * SecondsPerStep)):c} left");
        Line($"tokens          {TokensPerSecond:F0} a second");
        using (var process = Process.GetCurrentProcess())
            Line($"peak memory     {process.PeakWorkingSet64 / Mebibyte:F0} MiB, {TorchRuntime.CpuMemory.Peak / Mebibyte:F0} MiB of it tensors");
        Line($"skipped steps   {Skipped}");
        Line($"checkpoint      {(Checkpoint is { } step ? $"step {step}" : "none yet")}");
        if (Best is { } best)
            Line($"best            step {best.Step}, {HeldOutLoss.Name} {best.Loss:G6}, in {BestFolder.Name}");
        if (Samples is not null)
            Line($"samples         {Samples}");
        foreach (var (name, value) in Losses.Concat(HeldOut).Concat(Measured))
            Line($"{name,-15} {value:G6}");
        return text.ToString();

        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }
}
