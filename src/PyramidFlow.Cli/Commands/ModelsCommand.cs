using System.CommandLine;
using PyramidFlow.Models;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Hub;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Hub.Conversion;
using PyramidFlow.Hub.RandomModels;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>models</c>: what is installed, whether it can run, and how to get more.</summary>
internal static class ModelsCommand
{
    private const string Name = $"{CommandLine.Name} models";

    public static Command Create(CliConsole console) => new ExampledCommand("models", "Lists, checks, downloads, converts and makes checkpoints.",
        $"{Name} list", $"{Name} download pyramid-flow-miniflux --variant 384p")
    {
        List(console), Verify(console), Download(console), Convert(console), Random(console),
    };

    private static ExampledCommand List(CliConsole console)
    {
        var json = CliOptions.Flag("--json", "print JSON instead of a table");
        var command = new ExampledCommand("list", "Shows what is installed and what can be downloaded.", $"{Name} list --json") { json };
        command.SetAction((parsed, _) =>
        {
            ModelList.Print(parsed.GetValue(json), console);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    private static ExampledCommand Verify(CliConsole console)
    {
        var folder = new Argument<string>("FOLDER") { Description = "checkpoint folder, or a name that models list shows" };
        var json = CliOptions.Flag("--json", "print JSON instead of a table");
        var quick = CliOptions.Flag("--quick", "read no weights: leave out that all of them are finite numbers");
        var command = new ExampledCommand("verify", "Says what a checkpoint can run, and which file is missing, short, of another model, or holds a weight that is not a finite number.",
            $"{Name} verify ./pyramid-flow-miniflux") { folder, quick, json };
        command.SetAction((parsed, cancel) =>
        {
            var named = parsed.GetRequiredValue(folder);
            var report = CheckpointReport.Create(CheckpointFolder.Open(Directory.Exists(named) ? named : ModelNames.Find(named)), null, !parsed.GetValue(quick), cancel);
            VerifyReport.Print(report, parsed.GetValue(json), console);
            return Task.FromResult(report.CanRun ? ExitCode.Ok : ExitCode.Failed);
        });
        return command;
    }

    private static ExampledCommand Download(CliConsole console)
    {
        var name = new Argument<string>("NAME") { Description = $"{string.Join(", ", ModelCatalog.Released.Select(known => known.Name))}, or OWNER/NAME of a repository" };
        var variant = CliOptions.Text("--variant", "NAME", "transformer to bring: 384p, 768p or image [default: 384p]");
        var revision = CliOptions.Text("--revision", "NAME", "branch, tag or commit [default: main]");
        var output = CliOptions.Text("--output", "DIR", $"checkpoint folder to write [default: NAME in {ModelCatalog.Variable}, else here]", "-o");
        var parallel = CliOptions.Whole("--parallel", "N", "files fetched at the same time [default: 4]", 1);
        var command = new ExampledCommand("download", "Brings a checkpoint from the Hugging Face hub (HF_ENDPOINT, HF_TOKEN); goes on where an earlier run stopped.",
            $"{Name} download pyramid-flow-miniflux --variant 384p", $"{Name} download pyramid-flow-sd3 --variant 768p -o ./sd3") { name, variant, revision, output, parallel };
        command.SetAction((parsed, cancel) => new DownloadRun(console).RunAsync(parsed.GetRequiredValue(name), parsed.GetValue(variant),
            parsed.GetValue(revision) ?? "main", parsed.GetValue(output), parsed.GetValue(parallel), cancel));
        return command;
    }

    private static ExampledCommand Convert(CliConsole console)
    {
        var source = new Argument<string>("SRC") { Description = "checkpoint folder, folder of one model, or a .safetensors, .bin, .pt or .pth file" };
        var target = new Argument<string>("DST") { Description = "new folder" };
        var type = CliOptions.Choice("--dtype", "number type to write [default: as it is]", "bf16", "fp32", "fp16");
        var int8 = CliOptions.Flag("--int8", "round the large matrices of transformer and T5 to int8 with a factor for each row: half the memory of bf16; says what is lost");
        var command = new ExampledCommand("convert", "Writes a checkpoint as safetensors in the released layout, also one that a trainer saved.",
            $"{Name} convert ./pyramid-flow-miniflux ./miniflux-fp16 --dtype fp16", $"{Name} convert ./pyramid-flow-miniflux ./miniflux-int8 --int8",
            $"{Name} convert ema.pt ./diffusion_transformer") { source, target, type, int8 };
        command.SetAction((parsed, cancel) =>
        {
            using var line = new WritingLine(console);
            var reports = new List<string>();
            var options = new ConversionOptions { Type = NumberTypes.Parse(parsed.GetValue(type)), Int8 = parsed.GetValue(int8), Report = reports.Add };
            var notes = CheckpointConversion.Convert(parsed.GetRequiredValue(source), parsed.GetRequiredValue(target), options, line, cancel);
            line.Dispose();
            reports.ForEach(console.Note);
            foreach (var note in notes)
                console.Warn(note);
            console.Result(parsed.GetRequiredValue(target));
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    private static ExampledCommand Random(CliConsole console)
    {
        var folder = new Argument<string>("DIR") { Description = "new folder" };
        var layout = CliOptions.Choice("--layout", "which checkpoint it is like [default: miniflux]", [.. RandomLayout.All]);
        var scale = CliOptions.Choice("--scale", "how large: of real size (15 GB and more) or tiny [default: real]", "real", "tiny");
        var seed = CliOptions.Seed("--seed", "seed of the weights [default: 0]");
        var command = new ExampledCommand("random", "Writes a checkpoint with random weights: to see whether a model of real size runs here before it is downloaded.",
            $"{Name} random --layout miniflux --scale tiny ./tiny") { folder, layout, scale, seed };
        command.SetAction((parsed, cancel) =>
        {
            using var line = new WritingLine(console);
            var options = new RandomOptions(
                parsed.GetValue(layout) ?? ModelFamilies.Flux.ShortName,
                parsed.GetValue(scale) == "tiny" ? RandomScale.Tiny : RandomScale.Real,
                parsed.GetValue(seed) ?? 0);
            RandomCheckpoint.Write(parsed.GetRequiredValue(folder), options, line, cancel);
            line.Dispose();
            console.Result(parsed.GetRequiredValue(folder));
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }
}
