using System.CommandLine;
using PyramidFlow.Cli.Benchmarks;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Hub;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using Spectre.Console;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>plan</c>: what a video will take before it is made.</summary>
internal static class PlanCommand
{
    private const string Name = $"{About.Name} plan";

    public static Command Create(CliConsole console)
    {
        var model = new ModelOptions();
        var settings = new SettingOptions(extends: false, "frames", "seconds", "size", "guidance", "video_guidance", "linear_guidance", "steps", "video_steps",
            "frames_per_unit", "history", "reuse_prefix", "guidance_every", "solver");
        var speed = CliOptions.Number("--speed", "GFLOPS", "speed to reckon with, in 10^9 operations a second [default: measured for a second]", zero: false);
        var ranks = CliOptions.Whole("--ranks", "N", "say what the video takes on N processes, divided as --parallel says", 1, 1024);
        var link = CliOptions.Number("--link", "GB/S", "with --ranks: bytes in 10^9 a second that a process sends to others; transfers are counted, and the ways that take the least time are chosen", zero: false);
        var json = CliOptions.Flag("--json", "print one JSON object instead of tables, units and stages counted from 0");
        var command = new ExampledCommand("plan", "Says how many operations, how much memory and about how much time a video takes; needs no weights.",
            $"{Name} --seconds 2", $"{Name} --model pyramid-flow-miniflux --variant 768p --seconds 10 --dtype bf16", $"{Name} --model pyramid-flow-sd3 --dtype bf16 --max-memory 8GB --json")
        {
            json,
        };
        command.Subcommands.Add(PlanTrainCommand.Create(console));
        command.Group("Length and size", settings.Of(SettingGroup.Size));
        command.Group("Guidance", settings.Of(SettingGroup.Content));
        settings.AddSamplingTo(command);
        model.AddTo(command);
        command.Group("Machine", speed, ranks, link);
        command.SetAction((parsed, cancellationToken) =>
        {
            var clip = settings.Read(parsed, new ClipArguments { Prompt = "plan" });
            PlanRun.Run(clip, model.Read(parsed), parsed.GetValue(ranks), parsed.GetValue(speed), parsed.GetValue(link), parsed.GetValue(json), console, cancellationToken);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }
}

/// <summary>Plans one video and prints what it takes.</summary>
internal static class PlanRun
{
    // Of an exchange between GPUs of one machine; an assumption.
    private const double DelayOfLinks = 20e-6;

    /// <param name="clip">What to make.</param>
    /// <param name="arguments">The model, a folder or the name of a released one, and how it runs.</param>
    /// <param name="ranks">Processes that make the video together; null is those of the model's ways, or one.</param>
    /// <param name="speed">10^9 operations a second; null measures them.</param>
    /// <param name="link">10^9 bytes a second between processes; null counts no transfers.</param>
    /// <param name="json">Whether to print JSON instead of tables.</param>
    /// <param name="console">Receives the plan.</param>
    /// <param name="cancellationToken">Stops before the measurement.</param>
    /// <exception cref="UsageException">The model cannot make it, or it does not fit the budget.</exception>
    public static void Run(ClipArguments clip, ModelArguments arguments, int? ranks, double? speed, double? link, bool json, CliConsole console, CancellationToken cancellationToken)
    {
        var model = Model(arguments);
        var settings = (clip with { Seed = 0 }).Resolve(model.Settings);
        var asked = arguments.Options();
        var choice = ElementTypeChoice.Of(model, asked);
        (var type, asked) = (choice.Type, choice.In(asked));
        var (placed, fault) = Place(model, settings, asked);
        cancellationToken.ThrowIfCancellationRequested();
        var rates = speed is { } given ? new MachineSpeed(given * 1e9, given * 1e9) : Measured(type, asked.Device, console);
        var cost = RunPlan.Of(model, settings, type, PlanReport.Counted(asked, placed), rates);
        arguments.Ways?.Check(ranks ?? arguments.Ways.Processes, settings.IsGuided, model.Transformer.Heads);
        var report = new PlanReport(arguments.Name ?? ModelCatalog.Default, model, settings, type, NumberTypes.Sentence(choice, arguments.Type), asked, placed, fault, rates, cost)
        {
            Parallel = Divided(),
            Link = link,
        };
        if (json)
            console.Result(PlanJson.Of(report));
        else
            report.Print(console);

        ParallelPlan? Divided()
        {
            if ((arguments.Ways?.Processes ?? ranks) is not { } count)
                return link is null ? null : throw CommandFault.LinkAlone();
            var options = PlanReport.Counted(asked, placed);
            var speeds = link is { } gigabytes ? new GroupSpeed(rates, gigabytes * 1e9, DelayOfLinks) : GroupSpeed.WithoutTransfers(rates);
            var ways = arguments.Ways ?? (link is null ? ParallelWays.For(count, settings.IsGuided) : ParallelPlan.Fastest(settings, model, type, count, options, speeds));
            return ParallelPlan.Of(settings, model, type, ways, options, speeds);
        }
    }

    private static PlannedModel Model(ModelArguments arguments)
    {
        var name = arguments.Name ?? ModelCatalog.Default;
        var isHere = CheckpointFolder.IsCheckpoint(name) || ModelCatalog.FindInstalled(name) is not null;
        if (isHere || arguments.Transformer is not null || arguments.Vae is not null || ModelCatalog.FindReleased(name) is not { } released)
            return PlannedModel.Of(arguments.Open(), arguments.Variant);
        var variant = arguments.Variant ?? released.Variants[0];
        return released.Variants.Contains(variant)
            ? PlannedModel.Released(released.Family, variant)
            : throw CommandFault.UnknownVariant(name, variant, released.Variants);
    }

    // Work and memory are worth knowing where the run does not fit this machine, too.
    private static (GenerationPlan? Plan, string? Fault) Place(PlannedModel model, GenerationSettings settings, PipelineOptions asked)
    {
        try
        {
            return (GenerationPlan.Of([settings], model, asked), null);
        }
        catch (RequestException e) when (e.Code == RequestFault.MachineTooSmallCode)
        {
            return (null, e.Message);
        }
    }

    private static MachineSpeed Measured(ElementType type, Device? device, CliConsole console)
    {
        console.Note("measuring the speed of this machine");
        return SpeedProbe.Measure(type, device);
    }
}

/// <summary>A plan, what it costs, and the model and machine speed it was made for.</summary>
/// <param name="Name">The model as typed.</param>
/// <param name="Model">The model.</param>
/// <param name="Settings">The clip.</param>
/// <param name="Type">Element type.</param>
/// <param name="TypeReason">The type and why.</param>
/// <param name="Asked">Options of the run as typed, with the type.</param>
/// <param name="Placed">The plan that <c>generate</c> executes; null where the run does not fit this machine.</param>
/// <param name="Fault">Why it does not fit.</param>
/// <param name="Speed">How fast the machine is.</param>
/// <param name="Cost">Work and memory.</param>
internal sealed record PlanReport(string Name, PlannedModel Model, GenerationSettings Settings, ElementType Type, string TypeReason, PipelineOptions Asked, GenerationPlan? Placed,
    string? Fault, MachineSpeed Speed, RunPlan Cost)
{
    /// <summary>Costs on several processes; null where they were not asked for.</summary>
    public ParallelPlan? Parallel { get; init; }

    /// <summary>10^9 bytes a second between processes; null counts no transfers.</summary>
    public double? Link { get; init; }

    /// <summary>Where it is computed.</summary>
    public Device Device => Asked.Device ?? Device.Cpu;

    /// <summary>
    /// Options to count work and memory with: those of the run, but with a whole history cache where only the free memory of this machine limits it, so
    /// that a plan for another machine can be made here.
    /// </summary>
    internal static PipelineOptions Counted(PipelineOptions asked, GenerationPlan? placed)
    {
        var options = placed?.Placement ?? asked;
        return asked.MaxMemory is not null ? options : options with { Sampler = options.Sampler with { HistoryBytes = asked.Sampler.HistoryBytes } };
    }

    /// <summary>Prints tables, which count units and stages from 1, as progress does.</summary>
    public void Print(CliConsole console)
    {
        var variant = Model.Variant.Length == 0 ? "" : $" {Model.Variant}";
        console.Result(FormattableString.Invariant(
            $"{Name}{variant}: {Settings.Width}x{Settings.Height}, {Settings.Frames} frames ({Settings.Frames / Model.Settings.FramesPerSecond:0.0} s), {Type}, on {Device}"));
        console.Result(TypeReason);
        console.Result(Work());
        console.Result(FormattableString.Invariant(
            $"all: {Cost.Flops / 1e12:N1} TFLOP, about {Durations.Text(TimeSpan.FromSeconds(Cost.Seconds))} at {MachineSpeed.ReachedShare:0%} of {Speed.Products / 1e9:N0} GFLOP/s in products and {Speed.Convolutions / 1e9:N0} in convolutions"));
        if (Cost.HistoryBytes > 0)
            console.Result(History());
        if (Parallel is { } divided)
            console.Result(Divided(divided));
        console.Result(Memory());
        console.Result(Placed is null ? $"on this machine: {Fault}" : Chosen(Placed));
        if (Asked.MaxMemory is { } budget && MemoryBudget.Int8Conversion(Model, Settings, Type, Asked, budget) is { } conversion)
            console.Result($"or {conversion}");
    }

    private Table Work()
    {
        var table = Table("", "unit", "stage", "steps", "tokens", "TFLOP", "time");
        foreach (var work in Cost.Work)
        {
            table.AddRow(work.Phase switch { GenerationPhase.EncodingText => "text", GenerationPhase.Denoising => "denoise", _ => "decode" },
                Number(work.Unit + 1), Number(work.Stage + 1), work.Steps == 0 ? "" : Number(work.Steps), work.Tokens == 0 ? "" : FormattableString.Invariant($"{work.Tokens}"),
                FormattableString.Invariant($"{work.Flops / 1e12:N2}"), Durations.Text(TimeSpan.FromSeconds(work.Seconds)));
        }

        return table;
    }

    private Table Memory()
    {
        var table = Table("offload", "text", "transformer", "decoding", "most");
        foreach (var (offload, memory) in Cost.Memory)
        {
            table.AddRow(offload.ToString().ToLowerInvariant(), Bytes.Text(memory.Text), Bytes.Text(memory.Transformer), Bytes.Text(memory.Decoder),
                Bytes.Text(memory.Peak));
        }

        return table;
    }

    private string History() => FormattableString.Invariant(
        $"history cache: {Bytes.Text(Cost.HistoryBytes)}, {(Counted(Asked, Placed).Sampler.HistoryBytes is null ? "beside the memory below" : "within the memory below")}; without it {(Cost.Flops + Cost.HistorySavedFlops) / 1e12:N1} TFLOP");

    private string Divided(ParallelPlan plan)
    {
        return FormattableString.Invariant(
            $"on {plan.Ways.Processes} processes ({plan.Ways}), computed, {(Link is { } link ? $"with {link} GB/s between them" : "without transfers")}: denoising {Time(plan.SamplingSeconds)} in place of {Time(Seconds(GenerationPhase.Denoising))}, with decoding {Time(plan.Seconds)} in place of {Time(Seconds(GenerationPhase.Denoising) + Seconds(GenerationPhase.Decoding))}; each keeps {Bytes.Text(plan.HistoryBytes)} of history cache and sends at most {Bytes.Text(plan.SentBytes)}; process 0 takes {Bytes.Text(plan.MemoryBytes[0])} of memory{(plan.MemoryBytes.Count > 1 ? $", each other one at most {Bytes.Text(plan.MemoryBytes.Skip(1).Max())}" : "")}");

        double Seconds(GenerationPhase phase) => Cost.Work.Where(work => work.Phase == phase).Sum(work => work.Seconds);

        static string Time(double seconds) => Durations.Text(TimeSpan.FromSeconds(seconds));
    }

    private string Chosen(GenerationPlan plan)
    {
        var options = plan.Placement;
        var place = options.MaxMemory is { } budget ? $"within {Bytes.Text(budget)}" : "on this machine";
        var tiles = options.Tiles is { } tile ? $"tiles of {tile.Size}{(options.TileByTile ? ", each through the whole clip" : "")}" : "whole frames";
        return FormattableString.Invariant(
            $"{place}: --offload {options.Offload.ToString().ToLowerInvariant()}, {options.Sampler.Attention.QueryBlock} queries and {Bytes.Text(options.Sampler.PrefixBytes)} of history at a time, {tiles}, {options.DecodeWindow} latent frames decoded at a time, {Bytes.Text(options.Sampler.HistoryBytes ?? 0)} of history cache, denoising on {Threads(plan.SamplingThreads(Settings))}");

        static string Threads(int? count) => count == 1 ? "1 thread" : FormattableString.Invariant($"{count} threads");
    }

    private static string Number(int? value) => value is { } number ? FormattableString.Invariant($"{number}") : "";

    private static Table Table(string first, params string[] numbers)
    {
        var table = new Table { Border = TableBorder.Simple };
        table.AddColumn(first);
        foreach (var number in numbers)
            table.AddColumn(number, column => column.RightAligned());
        return table;
    }
}

/// <summary>Writes a plan as JSON. Units and stages are counted from 0.</summary>
internal static class PlanJson
{
    public static string Of(PlanReport report) => ReadableJson.Write(indented: true, write: json =>
    {
        var (settings, plan) = (report.Settings, report.Cost);
        json.WriteStartObject();
        json.WriteString("model", report.Name);
        json.WriteString("variant", report.Model.Variant);
        json.WriteString("family", report.Model.Family.Name);
        json.WriteNumber("width", settings.Width);
        json.WriteNumber("height", settings.Height);
        json.WriteNumber("frames", settings.Frames);
        json.WriteString("dtype", report.Type.ToString());
        json.WriteString("dtype_reason", report.TypeReason);
        json.WriteString("device", report.Device.ToString());
        json.WriteNumber("flops", plan.Flops);
        json.WriteNumber("seconds", plan.Seconds);
        json.WriteNumber("products_per_second", report.Speed.Products);
        json.WriteNumber("convolutions_per_second", report.Speed.Convolutions);
        json.WriteStartObject("history_cache");
        json.WriteNumber("bytes", plan.HistoryBytes);
        json.WriteNumber("saved_flops", plan.HistorySavedFlops);
        json.WriteEndObject();
        if (report.Parallel is { } divided)
        {
            json.WriteStartObject("parallel");
            json.WriteNumber("guidance", divided.Ways.Guidance);
            json.WriteNumber("timesteps", divided.Ways.Timesteps);
            json.WriteNumber("heads", divided.Ways.Heads);
            json.WriteNumber("decode", divided.Ways.Decode);
            json.WriteNumber("decoders", divided.Ways.Decoders);
            json.WriteNumber("sampling_seconds", divided.SamplingSeconds);
            json.WriteNumber("seconds", divided.Seconds);
            json.WriteNumber("history_bytes", divided.HistoryBytes);
            json.WriteNumber("sent_bytes", divided.SentBytes);
            json.WriteStartArray("memory_bytes");
            foreach (var bytes in divided.MemoryBytes)
                json.WriteNumberValue(bytes);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteStartArray("work");
        foreach (var work in plan.Work)
        {
            json.WriteStartObject();
            json.WriteString("phase", work.Phase.ToString());
            if (work.Unit is { } unit)
                json.WriteNumber("unit", unit);
            if (work.Stage is { } stage)
                json.WriteNumber("stage", stage);
            json.WriteNumber("steps", work.Steps);
            json.WriteNumber("tokens", work.Tokens);
            json.WriteNumber("flops", work.Flops);
            json.WriteNumber("seconds", work.Seconds);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartObject("memory");
        foreach (var (offload, memory) in plan.Memory)
        {
            json.WriteStartObject(offload.ToString().ToLowerInvariant());
            json.WriteNumber("text", memory.Text);
            json.WriteNumber("transformer", memory.Transformer);
            json.WriteNumber("decoding", memory.Decoder);
            json.WriteNumber("peak", memory.Peak);
            json.WriteEndObject();
        }

        json.WriteEndObject();
        if (report.Placed is { Placement: var options } placed)
        {
            json.WriteStartObject("placement");
            if (options.MaxMemory is { } budget)
                json.WriteNumber("max_memory", budget);
            json.WriteString("offload", options.Offload.ToString().ToLowerInvariant());
            json.WriteNumber("query_block", options.Sampler.Attention.QueryBlock);
            json.WriteNumber("prefix_bytes", options.Sampler.PrefixBytes);
            json.WriteNumber("history_bytes", options.Sampler.HistoryBytes ?? 0);
            json.WriteNumber("decode_window", options.DecodeWindow);
            json.WriteNumber("tile", options.Tiles?.Size ?? 0);
            json.WriteBoolean("tile_by_tile", options.TileByTile);
            json.WriteBoolean("overlap_decoding", options.OverlapDecoding);
            json.WriteNumber("threads", placed.SamplingThreads(settings) ?? options.Threads ?? 0);
            json.WriteEndObject();
        }

        json.WriteEndObject();
    });
}
