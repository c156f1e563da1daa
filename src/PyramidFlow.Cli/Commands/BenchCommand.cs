using System.CommandLine;
using PyramidFlow.Models;
using PyramidFlow.Benchmarks;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Cli.Plotting;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>bench</c>: how fast models of real size run here, beside what the machine can do.</summary>
internal static class BenchCommand
{
    public static Command Create(CliConsole console) => new ExampledCommand("bench", "Measures models of real size with random weights.",
        $"{CommandLine.Name} bench vae", $"{CommandLine.Name} bench dit --dtype bf16 --blocks 3", $"{CommandLine.Name} bench video --device cuda --dtype bf16")
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
        var command = new ExampledCommand(name, description, $"{CommandLine.Name} bench {name} --dtype bf16 --markdown");
        target.AddTo(command);
        common.AddTo(command);
        command.SetAction((parsed, cancel) => Run(common.Read(parsed, AsUsage(() => target.Read(parsed))), common, parsed, console, cancel));
        return command;
    }

    private static ExampledCommand Video(CliConsole console)
    {
        var size = CliOptions.Size("--size", "size of the video [default: 640x384]");
        var frames = CliOptions.Whole("--frames", "N", "frames: 1, 9, 17, ... [default: 121]", 1);
        var family = FamilyOption();
        var common = new BenchOptions("videos, the median of whose times is given");
        var command = new ExampledCommand("video", "Makes a whole video, from text features to frames, with the steps of the released models; for GPUs.",
            $"{CommandLine.Name} bench video --device cuda --dtype bf16 --size 1280x768 --markdown") { size, frames, family };
        common.AddTo(command);
        command.SetAction((parsed, cancel) =>
        {
            var (width, height) = parsed.GetValue(size) is { } pixels ? (pixels.Width, pixels.Height) : (640, 384);
            var video = new VideoToMeasure(FamilyOf(parsed.GetValue(family)), width, height, parsed.GetValue(frames) ?? 121);
            return Run(common.Read(parsed, new BenchmarkOptions { Video = video }), common, parsed, console, cancel);
        });
        return command;
    }

    private static ExampledCommand Plot(CliConsole console)
    {
        var folder = new Argument<string>("FOLDER") { Description = "files that bench printed with --json [default: benchmarks/history]", Arity = ArgumentArity.ZeroOrOne };
        var output = CliOptions.Text("--output", "FILE", "picture to write [default: benchmarks.svg]", "-o");
        var command = new ExampledCommand("plot", "Draws the shares of kept benchmarks over time.",
            $"{CommandLine.Name} bench plot benchmarks/history -o docs/images/benchmarks.svg") { folder, output };
        command.SetAction((parsed, _) => Task.FromResult(
            HistoryPlot.Run(parsed.GetValue(folder) ?? "benchmarks/history", parsed.GetValue(output) ?? "benchmarks.svg", console)));
        return command;
    }

    private static Task<int> Run(BenchmarkOptions options, BenchOptions common, ParseResult parsed, CliConsole console, CancellationToken cancel)
    {
        Check(options);
        var report = BenchmarkRun.Run(options, console.Note, cancel);
        common.Print(report, parsed, console);
        return Task.FromResult(ExitCode.Ok);
    }

    private static void Check(BenchmarkOptions options) => AsUsage(() =>
    {
        options.Check();
        return options;
    });

    private static BenchmarkOptions AsUsage(Func<BenchmarkOptions> make)
    {
        try
        {
            return make();
        }
        catch (ArgumentException e) when (UserFault.Is(e))
        {
            throw new UsageException(e.Message, e);
        }
    }
}
