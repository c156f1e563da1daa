using System.Diagnostics;
using System.Globalization;
using System.Text;
using PyramidFlow.Torch;

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

/// <summary>Where a run is, in a few lines for people: <c>summary.txt</c>.</summary>
public sealed record RunSummary
{
    private const double Mebibyte = 1 << 20;

    /// <summary>Steps done.</summary>
    public long Step { get; init; }

    /// <summary>Steps of the whole run.</summary>
    public long Steps { get; init; }

    /// <summary>Mean time of a step, lately; 0 where none was done.</summary>
    public double SecondsPerStep { get; init; }

    /// <summary>Lately, of all processes.</summary>
    public double TokensPerSecond { get; init; }

    /// <summary>Steps the spike guard skipped.</summary>
    public long Skipped { get; init; }

    /// <summary>Step of the newest state, or null.</summary>
    public long? Checkpoint { get; init; }

    /// <summary>Latest losses.</summary>
    public IReadOnlyList<(string Name, double Value)> Losses { get; init; } = [];

    /// <summary>Latest measurements of a checkpoint.</summary>
    public IReadOnlyList<(string Name, double Value)> Measured { get; init; } = [];

    /// <summary>The newest contact sheet, or null.</summary>
    public string? Samples { get; init; }

    /// <summary>Writes it; the file before stays until the new one is whole.</summary>
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
        if (Samples is not null)
            Line($"samples         {Samples}");
        foreach (var (name, value) in Losses.Concat(Measured))
            Line($"{name,-15} {value:G6}");
        return text.ToString();

        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }
}
