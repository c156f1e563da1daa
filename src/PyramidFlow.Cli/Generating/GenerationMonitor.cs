using System.Diagnostics;
using System.Text.Json.Serialization;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Generating;

/// <summary>Shows where the making of a clip is and keeps how long its parts took.</summary>
/// <param name="line">Where to show it.</param>
/// <param name="clip">Which clip of the run, from 0.</param>
/// <param name="clips">Clips of the run.</param>
/// <param name="device">Where it is made; null is the CPU.</param>
internal sealed class GenerationMonitor(ProgressLine line, int clip = 0, int clips = 1, Device? device = null) : IProgress<GenerationProgress>
{
    private readonly long start = Stopwatch.GetTimestamp();
    private readonly Dictionary<GenerationPhase, TimeSpan> phases = [];
    private readonly SortedDictionary<int, TimeSpan> stages = [];
    private long last = Stopwatch.GetTimestamp();
    private GenerationProgress? current;
    private TimeSpan? firstOutput;
    private int writes;

    /// <inheritdoc/>
    public void Report(GenerationProgress value)
    {
        Book(value);
        current = value;
        var (milestone, detail) = Words(value);
        line.Update(clips == 1 ? milestone : $"clip {clip + 1}/{clips}, {milestone}", detail, (clip + value.Fraction) / clips);
    }

    /// <summary>Some frames were written.</summary>
    public void Wrote()
    {
        firstOutput ??= Stopwatch.GetElapsedTime(start);
        writes++;
    }

    /// <summary>Takes the progress off a terminal, so that something else can be said.</summary>
    public void Clear() => line.Clear();

    /// <summary>
    /// Such as <c>12 s (first output after 1.2 s, loading 0.4 s, denoising 9.1 s in stages 1.0 + 2.6 + 5.5, decoding 2.2 s)</c>; of a GPU
    /// also the most memory that tensors have held there.
    /// </summary>
    public string Summary()
    {
        Book(null);
        var parts = phases.OrderBy(phase => phase.Key).Where(phase => phase.Value.TotalSeconds >= 0.05).Select(phase =>
            $"{Name(phase.Key)} {Durations.Text(phase.Value)}{(phase.Key == GenerationPhase.Denoising ? Stages() : "")}");
        // A single one comes at the end.
        string[] first = writes > 1 ? [$"first output after {Durations.Text(firstOutput!.Value)}"] : [];
        return $"{Durations.Text(Stopwatch.GetElapsedTime(start))} ({string.Join(", ", first.Concat(parts))}){Memory()}";
    }

    private string Memory() => device is { Type: DeviceType.Cuda } gpu && TorchRuntime.PeakMemory(gpu) is > 0 and var peak ? $", {Bytes.Text(peak)} of {gpu} at most" : "";

    private string Stages() => " in stages " + string.Join(" + ", stages.Values.Select(t => FormattableString.Invariant($"{t.TotalSeconds:F1}")));

    // A report that says a step is done ends that step; any other one ends what was reported before it.
    private void Book(GenerationProgress? next)
    {
        var now = Stopwatch.GetTimestamp();
        var time = Stopwatch.GetElapsedTime(last, now);
        last = now;
        if ((next is { Phase: GenerationPhase.Denoising, Step: > 0 } ? next : current ?? next) is not { } done)
            return;
        phases[done.Phase] = phases.GetValueOrDefault(done.Phase) + time;
        if (done.Phase == GenerationPhase.Denoising)
            stages[done.Stage] = stages.GetValueOrDefault(done.Stage) + time;
    }

    private static (string Milestone, string Detail) Words(GenerationProgress p) => p.Phase switch
    {
        GenerationPhase.Denoising => ($"{Name(p.Phase)} unit {p.Unit + 1}/{p.Units}", $"stage {p.Stage + 1}/{p.Stages}, step {p.Step}/{p.Steps}"),
        GenerationPhase.Decoding when p.Steps > 0 => ($"{Name(p.Phase)} all units", $"tile {Math.Min(p.Step + 1, p.Steps)}/{p.Steps}"),
        GenerationPhase.Decoding => ($"{Name(p.Phase)} unit {p.Unit + 1}/{p.Units}", ""),
        _ => (Name(p.Phase), ""),
    };

    private static string Name(GenerationPhase phase) => phase switch
    {
        GenerationPhase.Loading => "loading",
        GenerationPhase.EncodingText => "encoding text",
        GenerationPhase.EncodingImage => "encoding image",
        GenerationPhase.Denoising => "denoising",
        _ => "decoding",
    };
}

/// <summary>Reports the clips of a run: each one when it is done, or all at the end as one JSON object.</summary>
internal sealed class RunReport(CliConsole console, bool json, bool verbose)
{
    private readonly List<MadeClip> made = [];
    private readonly List<string> skipped = [];
    private readonly List<Failure> failed = [];

    public int Failed => failed.Count;

    /// <summary>A clip was made.</summary>
    /// <param name="clip">The clip.</param>
    /// <param name="how">How long it took.</param>
    public void Made(MadeClip clip, string how)
    {
        made.Add(clip);
        console.Note($"{clip}, {how}");
        if (!json && clip.File != OutputFile.Standard)
            console.Result(clip.File);
    }

    /// <summary>A file was there already.</summary>
    public void Skipped(string file) => skipped.Add(file);

    /// <summary>A clip could not be made.</summary>
    /// <param name="item">Place of the item, such as "prompts.txt line 3".</param>
    /// <param name="error">Why.</param>
    public void Fault(string item, Exception error)
    {
        var sentence = Faults.Sentence(error);
        failed.Add(new Failure(item, sentence));
        console.Fail($"{item}: {sentence}");
        if (verbose)
            console.Note(error.ToString());
    }

    /// <summary>Such as <c>3 made, 97 made before, 2 failed</c>.</summary>
    public string Counts() => string.Join(", ",
        [$"{made.Count} made", .. Some(skipped.Count, "made before"), .. Some(failed.Count, "failed")]);

    /// <summary>Prints the JSON object, if that was asked for, and gives the exit code.</summary>
    public int End()
    {
        if (json)
            console.Result(ReadableJson.Serialize(new Summary(made.Count, skipped.Count, failed.Count, made, skipped, failed), RunReportJson.Default.Summary));
        return failed.Count == 0 ? ExitCode.Ok : ExitCode.Failed;
    }

    private static string[] Some(int count, string what) => count == 0 ? [] : [$"{count} {what}"];

    internal sealed record Failure(string Item, string Error);

    internal sealed record Summary(int Made, int Skipped, int Failed, IReadOnlyList<MadeClip> Clips, IReadOnlyList<string> MadeBefore, IReadOnlyList<Failure> Errors);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(RunReport.Summary))]
internal sealed partial class RunReportJson : JsonSerializerContext;
