using System.CommandLine;
using PyramidFlow.Benchmarks;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Torch;
using PyramidFlow.Vae;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>bench</c>: how fast models of real size run here, beside what the machine can do.</summary>
internal static class BenchCommand
{
    public static Command Create(CliConsole console) => new ExampledCommand("bench", "Measures models of real size with random weights on the CPU.",
        $"{CommandLine.Name} bench vae", $"{CommandLine.Name} bench dit --dtype bf16 --blocks 3")
    {
        Target("dit", "Measures single steps of the transformer; holds 8 GB of weights in fp32, 4 GB in bf16.", true, false, console),
        Target("vae", "Measures the VAE.", false, true, console),
        Target("all", "Measures the VAE, then the transformer.", true, true, console),
    };

    private static ExampledCommand Target(string name, string description, bool transformer, bool vae, CliConsole console)
    {
        var type = CliOptions.Choice("--dtype", "element type to compute in [default: fp32]", "fp32", "bf16");
        var size = CliOptions.Size("--size", transformer ? "size of the video the transformer makes [default: 640x384]" : "size of the frames [default: 256x256]");
        var unit = CliOptions.Whole("--unit", "N", "which unit of the video the transformer makes, from 0 [default: 8]", 0);
        var blocks = CliOptions.Whole("--blocks", "N", "only so many of the transformer's 24 blocks, for a quick look", 1);
        var runs = CliOptions.Whole("--runs", "N", "runs of each row, whose median is given [default: 1]", 1);
        var threads = CliOptions.Whole("--threads", "N", "CPU threads [default: all]", 1);
        var json = CliOptions.Flag("--json", "print JSON instead of a table");
        var markdown = CliOptions.Flag("--markdown", "print the table in Markdown");
        var command = new ExampledCommand(name, description, $"{CommandLine.Name} bench {name} --dtype bf16 --markdown") { type, size, runs, threads, json, markdown };
        if (transformer)
        {
            command.Add(unit);
            command.Add(blocks);
        }

        command.SetAction((parsed, cancel) =>
        {
            if (parsed.GetValue(json) && parsed.GetValue(markdown))
                throw new UsageException("--json and --markdown are two ways to print the same: use one");
            var options = Options(transformer ? parsed.GetValue(blocks) : null);
            options = options with
            {
                Type = parsed.GetValue(type) == "bf16" ? ElementType.BFloat16 : ElementType.Float32,
                Unit = (transformer ? parsed.GetValue(unit) : null) ?? options.Unit,
                Runs = parsed.GetValue(runs) ?? options.Runs,
            };
            if (parsed.GetValue(size) is { } pixels)
                options = transformer ? options with { Size = (pixels.Width, pixels.Height) } : options with { VaeSize = (pixels.Width, pixels.Height) };
            Check(options);
            if (parsed.GetValue(threads) is { } count)
                TorchRuntime.Threads = count;
            var report = BenchmarkRun.Run(options, console.Note, cancel);
            BenchReport.Print(report, parsed.GetValue(json), parsed.GetValue(markdown), console);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;

        BenchmarkOptions Options(int? kept) => AsUsage(() => new BenchmarkOptions
        {
            Transformer = transformer ? ReleasedModels.Transformer(kept) : null,
            Vae = vae ? CausalVideoVaeConfig.Released : null,
        });
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
        catch (ArgumentException e)
        {
            throw new UsageException(e.Message, e);
        }
    }
}
