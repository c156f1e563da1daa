using System.CommandLine;
using PyramidFlow.Benchmarks;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Hub;
using PyramidFlow.Vae;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>bench</c>: how fast models of real size run here, beside what the machine can do.</summary>
internal static class BenchCommand
{
    public static Command Create(CliConsole console) => new ExampledCommand("bench", "Measures models of real size with random weights.",
        $"{CommandLine.Name} bench vae", $"{CommandLine.Name} bench dit --dtype bf16 --blocks 3", $"{CommandLine.Name} bench video --device cuda --dtype bf16")
    {
        Target("dit", "Measures single steps of the transformer; holds 8 GB of weights in fp32, 4 GB in bf16.", true, false, console),
        Target("vae", "Measures the VAE.", false, true, console),
        Target("all", "Measures the VAE, then the transformer.", true, true, console),
        Video(console),
    };

    private static ExampledCommand Target(string name, string description, bool transformer, bool vae, CliConsole console)
    {
        var size = CliOptions.Size("--size", transformer ? "size of the video the transformer makes [default: 640x384]" : "size of the frames [default: 256x256]");
        var unit = CliOptions.Whole("--unit", "N", "which unit of the video the transformer makes, from 0 [default: 8]", 0);
        var blocks = CliOptions.Whole("--blocks", "N", "only so many of the transformer's 24 blocks, for a quick look", 1);
        var tile = CliOptions.Whole("--tile", "PIXELS", "decode 9 frames tile by tile with tiles of this side, such as 256", 64);
        var family = FamilyOption();
        var common = new BenchOptions("runs of each row, whose median is given");
        var command = new ExampledCommand(name, description, $"{CommandLine.Name} bench {name} --dtype bf16 --markdown") { size };
        if (transformer)
        {
            command.Add(family);
            command.Add(unit);
            command.Add(blocks);
        }
        else
        {
            command.Add(tile);
        }

        common.AddTo(command);
        command.SetAction((parsed, cancel) =>
        {
            var options = common.Read(parsed, Options(parsed.GetValue(family), transformer ? parsed.GetValue(blocks) : null));
            options = options with { Unit = (transformer ? parsed.GetValue(unit) : null) ?? options.Unit };
            if (parsed.GetValue(size) is { } pixels)
                options = transformer ? options with { Size = (pixels.Width, pixels.Height) } : options with { VaeSize = (pixels.Width, pixels.Height) };
            if (!transformer && parsed.GetValue(tile) is { } side)
                options = options with { VaeTiles = new TileOptions(side) };
            return Run(options, common, parsed, console, cancel);
        });
        return command;

        BenchmarkOptions Options(string? model, int? kept) => AsUsage(() => new BenchmarkOptions
        {
            Transformer = transformer ? ReleasedModels.Transformer(FamilyOf(model), kept) : null,
            Vae = vae ? CausalVideoVaeConfig.Released : null,
        });
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

    private static Task<int> Run(BenchmarkOptions options, BenchOptions common, ParseResult parsed, CliConsole console, CancellationToken cancel)
    {
        Check(options);
        var report = BenchmarkRun.Run(options, console.Note, cancel);
        common.Print(report, parsed, console);
        return Task.FromResult(ExitCode.Ok);
    }

    private static Option<string?> FamilyOption() => CliOptions.Choice("--model", "sizes of which released model [default: miniflux]", "miniflux", "sd3");

    private static ModelFamily FamilyOf(string? name) => name == "sd3" ? ModelFamily.Mmdit : ModelFamily.Flux;

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
