using System.CommandLine;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Cli.Plotting;
using PyramidFlow.Cli.Training;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>train vae</c>, <c>train dit</c>, <c>train lora</c>, <c>train ship</c> and <c>train plot</c>.</summary>
internal static class TrainCommand
{
    public static Command Create(CliConsole console) => new ExampledCommand("train",
        "Trains models on your own data, or those of the sprites world; a run that was stopped goes on where it was (docs/training.md).",
        $"{CommandLine.Name} train vae --config configs/sprites-vae.json --out runs/sprites",
        $"{CommandLine.Name} train dit --config configs/sprites-dit.json --out runs/sprites",
        $"{CommandLine.Name} train vae --config configs/vae-stage1.json --out runs/vae-stage1",
        $"{CommandLine.Name} train ship --out runs/sprites --model models/sprites")
    {
        One("vae", "Trains the causal video VAE.", TrainRun.Vae, console),
        One("dit", "Trains the text encoders and the diffusion transformer on the VAE's latents.", TrainRun.Dit, console),
        One("lora", "Trains a LoRA of a model folder's transformer, to be used with --lora.", TrainRun.Lora, console),
        Ship(console),
        Plot(console),
    };

    private static ExampledCommand One(string name, string description, TrainRun.Entry entry, CliConsole console)
    {
        var config = CliOptions.Text("--config", "FILE", "what to train, JSON");
        var output = CliOptions.Text("--out", "DIR", "folder of all runs of the model: states, metrics and weights");
        var threads = CliOptions.Whole("--threads", "N", "CPU threads [default: all]", 1);
        config.Required = output.Required = true;
        var command = new ExampledCommand(name, description,
            $"{CommandLine.Name} train {name} --config configs/sprites-{name}.json --out runs/sprites") { config, output, threads };
        command.SetAction((parsed, cancel) => TrainRun.RunAsync(entry, parsed.GetRequiredValue(config)!, parsed.GetRequiredValue(output)!,
            parsed.GetValue(threads), console, cancel));
        return command;
    }

    private static ExampledCommand Ship(CliConsole console)
    {
        var output = CliOptions.Text("--out", "DIR", "folder of all runs of the model");
        var model = CliOptions.Text("--model", "DIR", "model folder to write, in the released layout");
        output.Required = model.Required = true;
        var command = new ExampledCommand("ship", "Puts a model folder together from the runs, weights in bfloat16.",
            $"{CommandLine.Name} train ship --out runs/sprites --model models/sprites") { output, model };
        command.SetAction((parsed, _) => TrainRun.ShipAsync(parsed.GetRequiredValue(output)!, parsed.GetRequiredValue(model)!, console));
        return command;
    }

    private static ExampledCommand Plot(CliConsole console)
    {
        var files = new Argument<string[]>("FILE") { Description = "files of metrics, such as runs/sprites/dit/metrics.jsonl", Arity = ArgumentArity.OneOrMore };
        var x = CliOptions.Text("--x", "KEY", "what goes to the right [default: step]");
        var y = CliOptions.Text("--y", "KEY,KEY", "what goes up [default: all that begin with loss]");
        var labels = CliOptions.Text("--label", "NAME,NAME", "names of the files [default: those of their folders]");
        var log = CliOptions.Choice("--log", "logarithmic axes", "x", "y", "xy");
        var smooth = CliOptions.Whole("--smooth", "N", "lines that become one, their mean [default: 1]", 1);
        var title = CliOptions.Text("--title", "TEXT", "what stands above");
        var output = CliOptions.Text("--output", "FILE", "picture to write [default: curves.svg]", "-o");
        var command = new ExampledCommand("plot", "Draws curves of what runs measured.",
            $"{CommandLine.Name} train plot runs/sprites/dit/metrics.jsonl --smooth 10 --log y -o curves.svg",
            $"{CommandLine.Name} train plot runs/a/dit/evaluation.jsonl runs/b/dit/evaluation.jsonl --x flops --y mean --log x")
        {
            files, x, y, labels, log, smooth, title, output,
        };
        command.SetAction((parsed, _) => Task.FromResult(
            new MetricsPlot(parsed.GetValue(x) ?? "step", List(parsed.GetValue(y)), List(parsed.GetValue(labels)), parsed.GetValue(log),
                parsed.GetValue(smooth) ?? 1, parsed.GetValue(title) ?? "")
            .Run(parsed.GetRequiredValue(files), parsed.GetValue(output) ?? "curves.svg", console)));
        return command;

        static string[]? List(string? text) => text?.Split(',', StringSplitOptions.TrimEntries);
    }
}
