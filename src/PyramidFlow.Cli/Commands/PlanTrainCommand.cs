using System.CommandLine;
using System.Text.Json;
using PyramidFlow.Cli.Benchmarks;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Sprites;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Vae;
using Spectre.Console;
using static System.FormattableString;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>plan train</c>: what a training will take before it begins.</summary>
internal static class PlanTrainCommand
{
    private const string Name = $"{About.Name} plan train", Vae = "vae", Dit = "dit", Lora = "lora", Distill = "distill";

    public static Command Create(CliConsole console)
    {
        var config = new Argument<string>("CONFIG") { Description = "what to train on data of your own, JSON" };
        var kind = CliOptions.Choice("--as", "which training the configuration is for [default: as its keys say]", Vae, Dit, Lora, Distill);
        var set = CliOptions.Several("--set", "KEY=VALUE", "a value in place of that of the file, such as batch=8 or checkpoint_ratio=1; may be repeated", ConfigSetting.Parse);
        var speed = CliOptions.Number("--speed", "GFLOPS", "speed to reckon with, in 10^9 operations a second [default: measured for a second]", zero: false);
        var ranks = CliOptions.Whole("--ranks", "N", "processes that train together [default: 1]", 1, 4096);
        var link = CliOptions.Number("--link", "GB/S", "with --ranks: bytes in 10^9 a second that a process sends to others", zero: false);
        var probe = CliOptions.Flag("--probe", "also take a few steps of the training on this machine and measure their time and memory; leaves nothing behind, and needs data and model");
        var json = CliOptions.Flag("--json", "print one JSON object instead of tables");
        var command = new ExampledCommand("train", "Says how much memory, how many operations, about how much time and how much disk a training takes; without --probe it needs no weights and no data.",
            $"{Name} configs/lora-miniflux-384p.json --set device=cpu", $"{Name} configs/miniflux-384p.json --ranks 8 --link 25 --set shard=gradients", $"{Name} configs/vae-stage1.json --speed 20000 --json", $"{Name} mine.json --probe")
        {
            config, kind, set, speed, ranks, link, probe, json,
        };
        command.SetAction((parsed, cancellationToken) =>
        {
            var source = new TrainingConfigSource(parsed.GetRequiredValue(config), parsed.GetValue(set) ?? []);
            if (parsed.GetValue(link) is not null && parsed.GetValue(ranks) is null)
                throw CommandFault.LinkAlone();
            if (parsed.GetValue(probe) && parsed.GetValue(ranks) > 1)
                throw CommandFault.ProbeOfSeveral();
            var what = parsed.GetValue(kind) ?? KindOf(source);
            TorchRuntime.Threads = TrainRun.ThreadsOf(source, null);
            var remarks = new Remarks(console);
            var planned = Plan(source, what, parsed.GetValue(ranks) ?? 1, remarks, cancellationToken);
            var probed = parsed.GetValue(probe) ? Probed(source, what, planned, remarks, console, cancellationToken) : null;
            var report = new TrainingPlanReport(source.Path, what, planned, Speed(parsed.GetValue(speed), planned, console), parsed.GetValue(link)) { Probed = probed };
            if (parsed.GetValue(json))
                console.Result(report.Json());
            else
                report.Print(console);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    private static string KindOf(TrainingConfigSource source)
    {
        if (!File.Exists(source.Path))
            throw CommandFault.ConfigurationMissing(source.Path);
        var keys = TrainingConfigFile.Facts(source).Where(fact => fact.Value != "null").Select(fact => fact.Name.Split('.')[0]).ToHashSet();
        if (keys.Contains("distill"))
            return Distill;
        if (keys.Contains("lora"))
            return Lora;
        // A network of its own, or the keys of a transformer's training.
        return keys.Contains("data") ? keys.Contains("model") ? Dit : Vae : keys.Contains("vae") ? Vae : Dit;
    }

    private static PlannedTraining Plan(TrainingConfigSource source, string what, int ranks, IProgress<TrainingProgress> remarks, CancellationToken cancellationToken) =>
        (TrainingConfigFile.HasDataSection(source), what) switch
        {
            (true, Vae) => VaeTraining.Plan(source, ranks, remarks, cancellationToken),
            (true, _) => DitTraining.Plan(source, DitKindOf(what), ranks, remarks, cancellationToken),
            (false, Vae) => SpriteTraining.PlanVae(source, ranks),
            _ => SpriteTraining.PlanDit(source, DitKindOf(what), ranks),
        };

    private static DitKind DitKindOf(string what) => what switch { Lora => DitKind.Lora, Distill => DitKind.Distill, _ => DitKind.Whole };

    // Before the speed is measured, whose memory would count. Null where the training does not fit, which the report says.
    private static ProbedSteps? Probed(TrainingConfigSource source, string what, PlannedTraining planned, IProgress<TrainingProgress> remarks, CliConsole console, CancellationToken cancellationToken)
    {
        if (planned.IsDrawn)
            throw CommandFault.ProbeOfSprites(source.Path);
        if (planned.Items is null)
            throw CommandFault.ProbeWithoutData(source.Path);
        if (planned.Room is null)
            throw CommandFault.ProbeWithoutDevice(planned.Plan.Device.ToString());
        if (planned.Fault is not null)
            return null;
        using var line = new ProgressLine(console);
        using var probe = new TrainingProbe(new TrainingMonitor(line, console));
        TrainingProbe.ResetPeaks();
        if (what == Vae)
            VaeTraining.Probe(source, probe, remarks, cancellationToken);
        else
            DitTraining.Probe(source, DitKindOf(what), probe, remarks, cancellationToken);
        line.Clear();
        return probe.Result;
    }

    // Null where the training is on a GPU that this machine lacks.
    private static MachineSpeed? Speed(double? given, PlannedTraining planned, CliConsole console)
    {
        if (given is { } speed)
            return new MachineSpeed(speed * 1e9, speed * 1e9);
        if (planned.Room is null)
            return null;
        console.Note("measuring the speed of this machine");
        return SpeedProbe.Measure(planned.Config.ComputeType, planned.Plan.Device);
    }

    // Items that cannot be used.
    private sealed class Remarks(CliConsole console) : IProgress<TrainingProgress>
    {
        public void Report(TrainingProgress value)
        {
            if (value.Note is { } note)
                console.Note(note);
        }
    }
}

/// <summary>A plan of a training, for people and for programs.</summary>
/// <param name="File">The configuration.</param>
/// <param name="Kind">vae, dit, lora or distill.</param>
/// <param name="Planned">The plan.</param>
/// <param name="Speed">How fast the machine is; null where that is unknown.</param>
/// <param name="Link">10^9 bytes a second between processes; null counts no transfers.</param>
internal sealed record TrainingPlanReport(string File, string Kind, PlannedTraining Planned, MachineSpeed? Speed, double? Link)
{
    /// <summary>Steps that were measured; null where none was asked for, or they do not fit.</summary>
    public ProbedSteps? Probed { get; init; }

    private TrainingPlan Plan => Planned.Plan;

    private double? Seconds => Speed is { } speed ? Plan.SecondsPerStep(speed) : null;

    private double? Transfers => Link is { } link ? Plan.SentBytes / (link * 1e9) : null;

    /// <summary>Prints tables and sentences.</summary>
    public void Print(CliConsole console)
    {
        var config = Planned.Config;
        var data = Planned.IsDrawn ? $"clips of {Plan.Largest}, drawn from the seed" : Planned.Items is { } items ? Invariant($"{items} {(items == 1 ? "item" : "items")} of at most {Plan.Largest}") : $"the data is not there: items of {Plan.Largest}, the largest of the configuration";
        console.Result(Invariant($"{File}: train {Kind}, {Plan.Weights:N0} weights are trained, {config.ComputeType}, on {Plan.Device}; {data}"));
        console.Result(Memory(onHost: false));
        if (Plan.HostBytes > 0)
            console.Result(Memory(onHost: true));
        console.Result(Invariant($"memory, computed: {Plan.Peak.Name} takes the most, {Bytes.Text(Plan.PeakBytes)}{(Plan.Ranks > 1 ? " in each process" : "")}; {Room()}"));
        console.Result(Work());
        if (Probed is { } probed)
            console.Result(Measured(probed));
        console.Result(Invariant($"disk, computed: at most {Plan.States} states of {Bytes.Text(Plan.StateBytes)}, published weights of {Bytes.Text(Plan.PublishedBytes)}{(Plan.KeepsBest ? " and as much for the best ones" : "")}{(Plan.SampleBytes > 0 ? $", samples of {Bytes.Text(Plan.SampleBytes)}" : "")}{(Plan.OtherBytes > 0 ? $", latents and other files of {Bytes.Text(Plan.OtherBytes)}" : "")}: {Bytes.Text(Plan.DiskBytes)}"));
        if (Plan.Ranks > 1)
            console.Result(Divided());
    }

    /// <summary>The plan as a JSON object.</summary>
    public string Json() => ReadableJson.Write(indented: true, write: json =>
    {
        json.WriteStartObject();
        json.WriteString("config", File);
        json.WriteString("kind", Kind);
        json.WriteString("dtype", Planned.Config.ComputeType.ToString());
        json.WriteString("device", Plan.Device.ToString());
        json.WriteString("largest", Plan.Largest);
        if (Planned.Items is { } items)
            json.WriteNumber("items", items);
        json.WriteNumber("weights", Plan.Weights);
        json.WriteNumber("ranks", Plan.Ranks);
        json.WriteStartArray("memory");
        foreach (var phase in Plan.Phases)
        {
            json.WriteStartObject();
            json.WriteString("phase", phase.Name);
            json.WriteNumber("bytes", phase.Bytes());
            json.WriteNumber("host_bytes", phase.Bytes(onHost: true));
            json.WriteStartArray("parts");
            foreach (var part in phase.Parts.Where(part => part.Bytes > 0))
            {
                json.WriteStartObject();
                json.WriteString("name", part.Name);
                json.WriteNumber("bytes", part.Bytes);
                json.WriteString("kind", part.Kind.ToString().ToLowerInvariant());
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteNumber("peak_bytes", Plan.PeakBytes);
        if (Planned.Room is { } room)
        {
            json.WriteNumber("total_bytes", room.Total);
            json.WriteNumber("free_bytes", room.Free);
            json.WriteBoolean("fits", Planned.Fault is null);
        }

        if (Planned.Fault is { } fault)
            json.WriteString("fault", fault.Message);
        json.WriteNumber("product_flops_per_step", Plan.Products);
        json.WriteNumber("convolution_flops_per_step", Plan.Convolutions);
        if (Seconds is { } seconds)
        {
            json.WriteNumber("seconds_per_step", seconds);
            json.WriteNumber("seconds", seconds * Planned.Config.Steps);
        }

        json.WriteNumber("steps", Planned.Config.Steps);
        if (Probed is { } probed)
            Write(json, probed);
        json.WriteNumber("sent_bytes_per_step", Plan.SentBytes);
        if (Transfers is { } transfers)
            json.WriteNumber("transfer_seconds_per_step", transfers);
        json.WriteStartObject("disk");
        json.WriteNumber("state_bytes", Plan.StateBytes);
        json.WriteNumber("states", Plan.States);
        json.WriteNumber("published_bytes", Plan.PublishedBytes);
        json.WriteBoolean("keeps_best", Plan.KeepsBest);
        json.WriteNumber("best_bytes", Plan.KeepsBest ? Plan.PublishedBytes : 0);
        json.WriteNumber("other_bytes", Plan.OtherBytes);
        json.WriteNumber("sample_bytes", Plan.SampleBytes);
        json.WriteNumber("bytes", Plan.DiskBytes);
        json.WriteEndObject();
        json.WriteEndObject();
    });

    private void Write(Utf8JsonWriter json, ProbedSteps probed)
    {
        json.WriteStartObject("probe");
        json.WriteNumber("warm_up_steps", probed.WarmUp);
        json.WriteNumber("seconds_per_step", probed.SecondsPerStep);
        json.WriteStartArray("threads");
        foreach (var each in probed.Times)
        {
            json.WriteStartObject();
            json.WriteNumber("threads", each.Threads);
            json.WriteNumber("steps", each.Steps);
            json.WriteNumber("seconds_per_step", each.SecondsPerStep);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteNumber("process_peak_bytes", probed.ProcessBytes);
        json.WriteNumber("tensor_peak_bytes", probed.TensorBytes);
        json.WriteNumber("computed_peak_bytes", Plan.ProbedBytes());
        json.WriteEndObject();
    }

    // A column for each phase, a row for each part.
    private Table Memory(bool onHost)
    {
        var table = new Table { Border = TableBorder.Simple };
        table.AddColumn(onHost ? "memory of the host" : $"memory of {(Plan.Device.Type == DeviceType.Cpu ? "the process" : Plan.Device.ToString())}");
        foreach (var phase in Plan.Phases)
            table.AddColumn(phase.Name, column => column.RightAligned());
        var names = Plan.Phases.SelectMany(phase => phase.Parts).Where(part => part.OnHost == onHost && part.Bytes > 0).Select(part => (part.Name, part.Kind)).Distinct();
        foreach (var (name, kind) in names)
        {
            table.AddRow([name + (kind == PlannedKind.Mapped ? ", mapped" : ""),
                .. Plan.Phases.Select(phase => phase.Parts.Where(part => part.OnHost == onHost && part.Name == name && part.Kind == kind).Sum(part => part.Bytes) is var bytes and > 0 ? Bytes.Text(bytes) : "")]);
        }

        table.AddRow(["all", .. Plan.Phases.Select(phase => Bytes.Text(phase.Bytes(onHost)))]);
        return table;
    }

    private string Room() => Planned.Room is not { } room ? $"this machine has no {Plan.Device}"
        : Planned.Fault is { } fault ? $"it is refused: {fault.Message}"
        : Invariant($"{room.Place} has {Bytes.Text(room.Total)}, {Bytes.Text(room.Free)} of it free: {(Plan.Ranks > 1 ? "one process fits" : "it fits")}{(Plan.PeakBytes <= room.Free ? "" : ", if other programs end or mapped weights are read again")}");

    private string Work()
    {
        var work = Invariant($"a step{(Plan.Ranks > 1 ? " of a process" : "")}: {Plan.Products / 1e12:N2} TFLOP in products and {Plan.Convolutions / 1e12:N2} in convolutions");
        return Speed is not { } speed || Seconds is not { } seconds ? $"{work}; --speed gives the time on a machine with {Plan.Device}"
            : Invariant($"{work}, computed about {Durations.Text(TimeSpan.FromSeconds(seconds))} at {MachineSpeed.ReachedShare:0%} of {speed.Products / 1e9:N0} GFLOP/s in products and {speed.Convolutions / 1e9:N0} in convolutions; {Planned.Config.Steps:N0} steps take about {Durations.Text(TimeSpan.FromSeconds(seconds * Planned.Config.Steps))}, without samples and checkpoints");
    }

    // What was done, and the figures beside the computed ones.
    private string Measured(ProbedSteps probed)
    {
        var (config, all) = (Planned.Config, probed.Times[0]);
        var where = Plan.Device.Type == DeviceType.Cpu ? $"with {Threads(all.Threads)}" : $"on {Plan.Device}";
        var memory = Plan.Device.Type == DeviceType.Cpu
            ? Invariant($"the process took {Bytes.Text(probed.ProcessBytes)} at most, {Bytes.Text(probed.TensorBytes)} of it tensors, computed {Bytes.Text(Plan.ProbedBytes())} up to a step")
            : Invariant($"{Plan.Device} {Bytes.Text(probed.TensorBytes)} at most, computed {Bytes.Text(Plan.ProbedBytes())} up to a step, and the host {Bytes.Text(probed.ProcessBytes)}, computed {Bytes.Text(Plan.ProbedBytes(onHost: true))}");
        var fewer = probed.Times.Count < 2 ? "" : Invariant($", {probed.Times[1].SecondsPerStep:G3} s with {Threads(probed.Times[1].Threads)}");
        return Invariant($"measured: {probed.WarmUp} steps of warm-up and {all.Steps} steps {where}, {probed.SecondsPerStep:G3} s each{(Seconds is { } seconds ? Invariant($", computed {seconds:G3} s") : "")}{fewer}; ")
            + Invariant($"{config.Steps:N0} steps take about {Durations.Text(TimeSpan.FromSeconds(probed.SecondsPerStep * config.Steps))}; {memory}")
            + (probed.Faster is { } faster ? Invariant($"; {Threads(faster.Threads)} of {all.Threads} {(faster.Threads == 1 ? "is" : "are")} faster here: set threads {faster.Threads}") : "");
    }

    private static string Threads(int count) => Invariant($"{count} {(count == 1 ? "thread" : "threads")}");

    private string Divided() => Invariant(
        $"on {Plan.Ranks} processes with shard {Planned.Config.Shard.ToString().ToLowerInvariant()}, computed: each sends {Bytes.Text(Plan.SentBytes)} a step{(Transfers is { } transfers ? Invariant($", {Durations.Text(TimeSpan.FromSeconds(transfers))} at {Link} GB/s") : "")}, and takes {Bytes.Text(Plan.PeakBytes)}");
}
