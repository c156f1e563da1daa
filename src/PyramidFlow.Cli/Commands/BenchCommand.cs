using System.CommandLine;
using PyramidFlow.Cli.Benchmarks;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using Spectre.Console;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>bench</c>: the speed of models of real size, relative to that of single operations.</summary>
internal static class BenchCommand
{
    public static Command Create(CliConsole console) => new ExampledCommand("bench", "Measures models of real size with random weights.",
        $"{About.Name} bench vae", $"{About.Name} bench dit --dtype bf16 --blocks 3", $"{About.Name} bench video --device cuda --dtype bf16")
    {
        Target("dit", "Measures single steps of the transformer; holds 8 GB of weights in fp32, 4 GB in bf16.", BenchParts.Dit, console),
        Target("vae", "Measures the VAE; 17 frames take 10 GB in fp32.", BenchParts.Vae, console),
        Target("text", "Measures the text encoders; T5 is cut to what fits: whole it holds 19 GB in fp32, 9.5 GB in bf16.", BenchParts.Text, console),
        Target("train", "Measures a training step of a transformer with 100 million weights.", BenchParts.Train, console),
        Target("all", "Measures the VAE, text encoders, the transformer and a training step.", BenchParts.All, console),
        Video(console),
        Plot(console),
    };

    internal static Option<string?> FamilyOption() => CliOptions.Choice("--model", "sizes of which released model [default: miniflux]", [.. ModelFamilies.All.Select(family => family.ShortName)]);

    internal static ModelFamily FamilyOf(string? name) => ModelFamilies.All.FirstOrDefault(family => family.ShortName == name) ?? ModelFamilies.Flux;

    private static ExampledCommand Target(string name, string description, BenchParts parts, CliConsole console)
    {
        var (target, common) = (new BenchTarget(parts), new BenchOptions("runs of each row, whose median is given"));
        var command = new ExampledCommand(name, description, $"{About.Name} bench {name} --dtype bf16 --markdown");
        target.AddTo(command);
        common.AddTo(command);
        command.SetAction((parsed, cancellationToken) => Run(common.Read(parsed, target.Read(parsed)), common, parsed, console, cancellationToken));
        return command;
    }

    private static ExampledCommand Video(CliConsole console)
    {
        var size = CliOptions.Size("--size", "size of the video [default: 640x384, or that of a model on this machine]");
        var frames = CliOptions.Whole("--frames", "N", "frames: 1, 9, 17, ... [default: 121]", 1);
        var seconds = CliOptions.Number("--seconds", "S", "length in place of --frames, at the frames per second of the model", zero: false);
        var blocks = CliOptions.Whole("--blocks", "N", "keep only N blocks of the transformer, so that a CPU makes a long video soon [default: all]", 1);
        var history = CliOptions.Memory("--history-cache", "most memory of the history cache; 0 keeps none [default: what is free]", zero: true);
        var noDecoding = CliOptions.Flag("--no-decoding", "only sample the latents");
        var model = CliOptions.Text("--model", "NAME", $"sizes of which model: {string.Join(", ", ModelFamilies.All.Select(family => family.ShortName))} in the released size, or a model on this machine [default: miniflux]");
        var plot = CliOptions.Text("--plot", "FILE", "draw time and memory of each unit, too (.svg)");
        var common = new BenchOptions("videos, the median of whose times is given");
        var command = new ExampledCommand("video", "Makes a whole video, from text features to frames, with the steps of the model and random weights, and tells the time of each unit.",
            $"{About.Name} bench video --device cuda --dtype bf16 --size 1280x768 --markdown", $"{About.Name} bench video --blocks 3 --seconds 10 --dtype bf16 --no-decoding", $"{About.Name} bench video --model sprites --seconds 60 --plot units.svg") { size, frames, seconds, blocks, history, noDecoding, model, plot };
        common.AddTo(command);
        command.SetAction((parsed, cancellationToken) =>
        {
            var name = parsed.GetValue(model);
            var installed = name is null || ModelFamilies.All.Any(family => family.ShortName == name) ? null : PlannedModel.Of(CheckpointFolder.Open(ModelNames.Find(name)), null);
            var (width, height) = parsed.GetValue(size) is { } pixels ? (pixels.Width, pixels.Height) : (installed?.Settings.Width ?? 640, installed?.Settings.Height ?? 384);
            var length = parsed.GetValue(seconds) is { } time ? VideoLength.Frames(time, installed?.Settings.FramesPerSecond ?? 24) : parsed.GetValue(frames) ?? 121;
            var video = new VideoToMeasure(installed?.Family ?? FamilyOf(name), width, height, length, parsed.GetValue(blocks), parsed.GetValue(history))
            {
                IsDecoded = !parsed.GetValue(noDecoding), Installed = installed,
            };
            if (parsed.GetValue(plot) is { } picture)
                OutputFile.Check(picture, ".svg");
            return Run(common.Read(parsed, new BenchmarkOptions { Video = video }), common, parsed, console, cancellationToken, report => UnitPlot.Write(report, parsed.GetValue(plot)));
        });
        return command;
    }

    private static ExampledCommand Plot(CliConsole console)
    {
        var folder = new Argument<string>("FOLDER") { Description = "files that bench printed with --json [default: benchmarks/history]", Arity = ArgumentArity.ZeroOrOne };
        var output = CliOptions.Text("--output", "FILE", "picture to write [default: benchmarks.svg]", "-o");
        var command = new ExampledCommand("plot", "Draws the shares of kept benchmarks over time.",
            $"{About.Name} bench plot benchmarks/history -o docs/images/benchmarks.svg") { folder, output };
        command.SetAction((parsed, _) => Task.FromResult(
            HistoryPlot.Run(parsed.GetValue(folder) ?? "benchmarks/history", parsed.GetValue(output) ?? "benchmarks.svg", console)));
        return command;
    }

    private static Task<int> Run(BenchmarkOptions options, BenchOptions common, ParseResult parsed, CliConsole console, CancellationToken cancellationToken, Action<BenchmarkReport>? then = null)
    {
        options.Check();
        var report = BenchmarkRun.Run(options, console.Note, cancellationToken);
        common.Print(report, parsed, console);
        then?.Invoke(report);
        return Task.FromResult(ExitCode.Ok);
    }
}

/// <summary>Options that all benchmarks have.</summary>
/// <param name="runs">Name in the help of the runs whose median is reported.</param>
internal sealed class BenchOptions(string runs)
{
    private readonly Option<string?> type = CliOptions.Choice("--dtype", "element type to compute in, or both one after the other [default: fp32]", "fp32", "bf16", "both");
    private readonly Option<int?> runs = CliOptions.Whole("--runs", "N", $"{runs} [default: 1]", 1);
    private readonly Option<string?> device = CliOptions.Text("--device", "NAME", "cpu, cuda or cuda:N [default: cpu]");
    private readonly Option<int?> threads = CliOptions.Whole("--threads", "N", "CPU threads [default: all]", 1);
    private readonly Option<bool> json = CliOptions.Flag("--json", "print JSON instead of a table");
    private readonly Option<bool> markdown = CliOptions.Flag("--markdown", "print the table in Markdown");

    internal void AddTo(Command command)
    {
        foreach (var option in (Option[])[type, device, runs, threads, json, markdown])
            command.Add(option);
    }

    /// <summary>Applies the typed options to those of the measurement.</summary>
    internal BenchmarkOptions Read(ParseResult parsed, BenchmarkOptions options)
    {
        if (parsed.GetValue(json) && parsed.GetValue(markdown))
            throw CommandFault.TwoFormats();
        if (parsed.GetValue(threads) is { } count)
            TorchRuntime.Threads = count;
        var device = parsed.GetValue(this.device) is { } name ? ModelArguments.ParseDevice(name) : options.Device;
        return options with
        {
            Rates = device.Type == DeviceType.Cuda ? RateSizes.ReleasedOnGpu : options.Rates,
            Types = parsed.GetValue(type) switch
            {
                "bf16" => [ElementType.BFloat16],
                "both" => [ElementType.Float32, ElementType.BFloat16],
                _ => options.Types,
            },
            Runs = parsed.GetValue(runs) ?? options.Runs,
            Device = device,
        };
    }

    internal void Print(BenchmarkReport report, ParseResult parsed, CliConsole console) =>
        BenchReport.Print(report, parsed.GetValue(json), parsed.GetValue(markdown), console);
}

/// <summary>Options of a <c>bench</c> command that say which models are measured at which size.</summary>
internal sealed class BenchTarget
{
    private readonly BenchParts parts;
    private readonly Option<FrameSize?> size;
    private readonly Option<string?> family = BenchCommand.FamilyOption();
    private readonly Option<int?> unit = CliOptions.Whole("--unit", "N", "which unit of the video the transformer makes, from 0 [default: 1, 8 and 16]", 0);
    private readonly Option<int?> blocks;
    private readonly Option<int?> frames = CliOptions.Whole("--frames", "N", "length of the videos: 1, 9, 17, ... [default: 1, 9 and 17]", 1);
    private readonly Option<int?> tile = CliOptions.Whole("--tile", "PIXELS", "decode 9 frames tile by tile with tiles of this side, such as 256", 64);

    internal BenchTarget(BenchParts parts)
    {
        this.parts = parts;
        size = CliOptions.Size("--size", parts.HasFlag(BenchParts.Dit) ? "size of the video the transformer makes [default: 640x384]"
            : parts == BenchParts.Train ? "size of the clips, multiples of 128 [default: 256x256]" : "size of the frames [default: 256x256]");
        var all = parts.HasFlag(BenchParts.Text) ? " [default: all, of T5 as many as memory has room for]" : "";
        blocks = CliOptions.Whole("--blocks", "N", $"only so many of the 24 blocks of {(parts == BenchParts.Text ? "T5" : parts == BenchParts.All ? "transformer and T5" : "the transformer")}, for a quick look{all}", 1);
    }

    internal void AddTo(Command command)
    {
        foreach (var (belongs, option) in ((bool, Option)[])
            [(parts != BenchParts.Text, size), (Has(BenchParts.Dit | BenchParts.Text), family), (Has(BenchParts.Dit), unit), (Has(BenchParts.Dit | BenchParts.Text), blocks),
                (parts == BenchParts.Vae, frames), (parts == BenchParts.Vae, tile)])
        {
            if (belongs)
                command.Add(option);
        }
    }

    /// <summary>Options of the measurement.</summary>
    /// <exception cref="UsageException">A model has fewer blocks, or a length is impossible.</exception>
    internal BenchmarkOptions Read(ParseResult parsed)
    {
        var options = new BenchmarkOptions
        {
            Vae = Has(BenchParts.Vae) ? CausalVideoVaeConfig.Released : null,
            Transformer = Has(BenchParts.Dit) ? ReleasedModels.Transformer(BenchCommand.FamilyOf(Given(family)), Given(blocks)) : null,
            Text = Has(BenchParts.Text) ? ReleasedModels.Text(BenchCommand.FamilyOf(Given(family)), Given(blocks)) : null,
            Training = Has(BenchParts.Train) ? TrainingToMeasure.HundredMillion : null,
        };
        if (Given(size) is { } pixels)
        {
            var given = (pixels.Width, pixels.Height);
            options = Has(BenchParts.Dit) ? options with { Size = given } : Has(BenchParts.Vae) ? options with { VaeSize = given } : options with { TrainingSize = given };
        }

        if (Given(unit) is { } number)
            options = options with { Units = [number] };
        if (Given(frames) is { } length)
            options = options with { VaeLatentFrames = [LatentFrames(length)] };
        return Given(tile) is { } side ? options with { VaeTiles = new TileOptions(side) } : options;

        T? Given<T>(Option<T?> option) => parsed.GetValue(option);
    }

    private static int LatentFrames(int frames)
    {
        var scale = CausalVideoVaeConfig.Released.TemporalScale;
        return (frames - 1) % scale == 0
            ? 1 + ((frames - 1) / scale)
            : throw CommandFault.FramesNotWhole(frames, scale, frames - ((frames - 1) % scale));
    }

    private bool Has(BenchParts any) => (parts & any) != 0;
}

/// <summary>Parts that a <c>bench</c> command measures.</summary>
[Flags]
internal enum BenchParts
{
    None = 0,
    Vae = 1,
    Text = 2,
    Dit = 4,
    Train = 8,
    All = Vae | Text | Dit | Train,
}

/// <summary>Prints what a benchmark measured.</summary>
internal static class BenchReport
{
    /// <summary>A table under the machine's rates, the same in Markdown, or one JSON object.</summary>
    public static void Print(BenchmarkReport report, bool json, bool markdown, CliConsole console)
    {
        if (json || markdown)
        {
            console.Result((json ? report.ToJson() : report.ToMarkdown()).TrimEnd());
            return;
        }

        console.Result(report.RatesLine);
        var table = new Table { Border = TableBorder.Simple };
        foreach (var (i, column) in report.Columns.Index())
            table.AddColumn(new TableColumn(new Text(column)) { Alignment = i is 0 or 3 ? Justify.Left : Justify.Right });
        foreach (var row in report.Rows)
            table.AddRow(report.Cells(row).Select(cell => new Text(cell)));
        console.Result(table);
    }
}

/// <summary>The picture of <c>bench video --plot</c>: time and memory of each unit.</summary>
internal static class UnitPlot
{
    /// <summary>Draws the rows of a report that are units.</summary>
    /// <param name="report">The measurement.</param>
    /// <param name="file">SVG file to write; null writes none.</param>
    public static void Write(BenchmarkReport report, string? file)
    {
        if (file is null)
            return;
        var units = report.Rows.Where(row => row.Unit is not null).ToLookup(row => row.Dtype);
        var plot = new LinePlot("A long video, unit by unit", "unit", "seconds, gigabytes", LogX: false, LogY: false);
        File.WriteAllText(file, plot.Draw([.. units.SelectMany(type => (Curve[])
        [
            new($"{type.Key}: seconds", [.. type.Select(row => (row.Unit!.Value + 1.0, row.Seconds))]),
            new($"{type.Key}: memory, GB", [.. type.Select(row => (row.Unit!.Value + 1.0, row.PeakMb / 1000))]),
        ])]));
    }
}

/// <summary>One run of <c>bench plot</c>: the shares of kept benchmarks over time.</summary>
internal static class HistoryPlot
{
    /// <summary>Reads, draws and writes.</summary>
    /// <param name="folder">Kept reports.</param>
    /// <param name="output">SVG file to write.</param>
    /// <param name="console">Receives the name of the file.</param>
    public static int Run(string folder, string output, CliConsole console)
    {
        OutputFile.Check(output, ".svg");
        var plot = new LinePlot("What models reach of the speed of single operations", "day", "% of the rate", LogX: false, LogY: false) { DaysX = true };
        File.WriteAllText(output, plot.Draw([.. Curves(folder)]));
        console.Result(output);
        return ExitCode.Ok;
    }

    private static IEnumerable<Curve> Curves(string folder) =>
        BenchmarkHistory.Read(folder).Select(line => new Curve(line.Label, [.. line.Points.Select(p => ((double)p.Day.DayNumber, 100 * p.Share))]));
}
