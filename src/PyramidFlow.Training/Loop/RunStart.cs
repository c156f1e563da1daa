using System.Globalization;
using System.Runtime.InteropServices;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Torch.Formats;
using static System.FormattableString;

namespace PyramidFlow.Training.Loop;

/// <summary>The data of a training, for the first line of a run and for the comparison with an earlier start.</summary>
/// <param name="Items">Number of items that are trained on.</param>
/// <param name="LeftOut">Number of items that cannot be used.</param>
/// <param name="Sizes">Sizes of the items, such as <c>640x384x121</c>.</param>
/// <param name="Digest">Digest of the items; empty where the seed determines them.</param>
/// <param name="Batch">Batch of a process as configured.</param>
/// <param name="ItemsPerBatch">Items that all processes together read for a micro-batch.</param>
internal sealed record TrainingData(long Items, int LeftOut, string Sizes, string Digest, string Batch, double ItemsPerBatch)
{
    private const int MostSizes = 3;

    /// <summary>Number of items that are held out for evaluation.</summary>
    public int HeldOut { get; init; }

    /// <summary>Several sizes in a few words.</summary>
    public static string Shown(IReadOnlyList<string> sizes) =>
        string.Join(", ", sizes.Take(MostSizes)) + (sizes.Count > MostSizes ? $" and {sizes.Count - MostSizes} more" : "");
}

/// <summary>
/// The start of a run: its first line, and <c>run.json</c> in its folder, by which a later start says what has changed since. The file holds program and libtorch too.
/// </summary>
internal sealed class RunStart
{
    /// <summary>Name of the file.</summary>
    public const string FileName = RunParts.StartFile;

    private const double Mebibyte = 1 << 20;
    private const string DataFact = "data";

    private readonly LoopConfig config;
    private readonly ITraining training;
    private readonly IReadOnlyList<(string Name, string Value)> facts;

    /// <summary>Collects the facts of a start.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="training">The trainer.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    public RunStart(LoopConfig config, ITraining training, ProcessGroup? group)
    {
        (this.config, this.training) = (config, training);
        facts =
        [
            ("program", TorchRuntime.ProgramVersion(typeof(RunStart).Assembly)),
            ("libtorch", TorchRuntime.Version), ("system", RuntimeInformation.OSDescription),
            .. training.Data is { } data
                ? [(DataFact, data.Digest), ("items", Text(data.Items)), ("held_out", Text(data.HeldOut)), ("size", data.Sizes), ("batch", data.Batch)]
                : Array.Empty<(string, string)>(),
            ("processes", Text(group?.WorldSize ?? 1)), ("threads", Text(TorchRuntime.Threads)), ("workers", Text(config.Workers)), ("accumulation", Text(config.Accumulation)),
            .. config.BatchesPerStep is { } batches ? [("batches_per_step", Text(batches))] : Array.Empty<(string, string)>(), ("steps", Text(config.Steps)),
            ("learning_rate", Text(config.LearningRate)), ("warm_up_steps", Text(config.WarmUpSteps)), ("schedule", config.Schedule.ToString()),
            ("precision", config.Precision.ToString()), ("seed", Text(config.Seed)),
        ];
    }

    /// <summary>The first line of the run.</summary>
    /// <param name="step">Number of completed steps.</param>
    /// <param name="file">The file of an earlier start; it may be missing.</param>
    public string Line(long step, string file)
    {
        var parts = new List<string>();
        if (training.Data is { } data)
        {
            var epochs = config.Steps * (double)(config.BatchesPerStep ?? config.Accumulation) * data.ItemsPerBatch / Math.Max(1, data.Items);
            parts.Add(Invariant($"{data.Items} {(data.Items == 1 ? "item" : "items")} of {data.Sizes}{(data.HeldOut > 0 ? Invariant($", {data.HeldOut} held out") : "")}{(data.LeftOut > 0 ? Invariant($", {data.LeftOut} left out") : "")}"));
            parts.Add(Invariant($"{config.Steps} steps are {epochs:G3} epochs"));
        }
        else
        {
            parts.Add(Invariant($"{config.Steps} steps"));
        }

        parts.Add(Invariant($"{Count(training.Parts.Sum(part => part.Parameters.Count))} weights are trained"));
        parts.Add(Rate());
        parts.Add(Invariant($"{Memory / Mebibyte:F0} MiB of tensors before the first step{(training.Plan is { } plan ? Invariant($", planned peak of the process {plan.PeakBytes / Mebibyte:F0} MiB") : "")}"));
        parts.Add(step >= config.Steps ? Invariant($"the run is finished, step {step} of {config.Steps}: raise steps to go on")
            : step > 0 ? Invariant($"goes on from step {step}{Changes(file)}")
            : "a new run");
        return string.Join("; ", parts);
    }

    /// <summary>Writes the file. An existing one is replaced when the new one is complete.</summary>
    public void Write(string file)
    {
        var partial = $"{file}.partial-{Environment.ProcessId}";
        File.WriteAllText(partial, ReadableJson.Write(json =>
        {
            json.WriteStartObject();
            foreach (var (name, value) in facts)
                json.WriteString(name, value);
            json.WriteEndObject();
        }, indented: true));
        File.Move(partial, file, overwrite: true);
    }

    private string Rate()
    {
        var part = training.Parts[0];
        var end = part.RateAt(config.Steps - 1);
        if (config.WarmUpSteps >= config.Steps)
            return Invariant($"the rate rises to {end:G3}, not to {config.LearningRate:G3}, because the warm-up of {config.WarmUpSteps} steps is not shorter than the run");
        return Invariant($"rate {config.LearningRate:G3}{(config.WarmUpSteps > 0 ? Invariant($" after {config.WarmUpSteps} {(config.WarmUpSteps == 1 ? "step" : "steps")} of warm-up") : "")}")
            + (config.Schedule == LearningRateShape.Constant ? "" : Invariant($", {end:G3} at the end"));
    }

    private double Memory => training.Parts[0].Parameters.Computed.Device is { Type: not DeviceType.Cpu } device ? TorchRuntime.PeakMemory(device) : TorchRuntime.CpuMemory.InUse;

    // What differs from the earlier start; empty where nothing does, or where it left no file.
    private string Changes(string file)
    {
        var earlier = (File.Exists(file) ? TrainingConfigFile.Facts(file) : []).ToDictionary(fact => fact.Name, fact => fact.Value.Trim('"'));
        var changed = facts.Where(fact => earlier.TryGetValue(fact.Name, out var before) && before != Written(fact.Value))
            .Select(fact => fact.Name == DataFact ? "other data" : $"{fact.Name} {earlier[fact.Name]} -> {fact.Value}").ToList();
        return changed.Count == 0 ? "" : $", changed since: {string.Join(", ", changed)}";
    }

    // As it stands between the quotes of the file.
    private static string Written(string value) => ReadableJson.Quote(value)[1..^1];

    private static string Count(long weights) => weights switch
    {
        < 1_000_000 => weights.ToString(CultureInfo.InvariantCulture),
        < 1_000_000_000 => Invariant($"{weights / 1e6:F1} million"),
        _ => Invariant($"{weights / 1e9:F2} billion"),
    };

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
