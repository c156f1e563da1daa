using System.CommandLine;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Cli.Training;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>train vae</c> and <c>train dit</c>.</summary>
internal static class TrainCommand
{
    public static Command Create(CliConsole console) => new ExampledCommand("train",
        "Trains the models of the sprites world; a run that was stopped goes on where it was.",
        $"{CommandLine.Name} train vae --config configs/sprites-vae.json --out runs/vae",
        $"{CommandLine.Name} train dit --config configs/sprites-dit.json --out runs/dit")
    {
        One("vae", "Trains the causal video VAE.", TrainRun.Vae, console),
        One("dit", "Trains the diffusion transformer.", TrainRun.Dit, console),
    };

    private static ExampledCommand One(string name, string description, TrainRun.Entry entry, CliConsole console)
    {
        var config = CliOptions.Text("--config", "FILE", "what to train, JSON");
        var output = CliOptions.Text("--out", "DIR", "folder of the run: its state, metrics and weights");
        var threads = CliOptions.Whole("--threads", "N", "CPU threads [default: all]", 1);
        config.Required = output.Required = true;
        var command = new ExampledCommand(name, description,
            $"{CommandLine.Name} train {name} --config configs/sprites-{name}.json --out runs/{name}") { config, output, threads };
        command.SetAction((parsed, cancel) => TrainRun.RunAsync(entry, parsed.GetRequiredValue(config)!, parsed.GetRequiredValue(output)!,
            parsed.GetValue(threads), console, cancel));
        return command;
    }
}
