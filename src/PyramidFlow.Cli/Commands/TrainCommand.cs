using System.CommandLine;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Cli.Training;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>train vae</c>, <c>train dit</c> and <c>train ship</c>.</summary>
internal static class TrainCommand
{
    public static Command Create(CliConsole console) => new ExampledCommand("train",
        "Trains the models of the sprites world; a run that was stopped goes on where it was.",
        $"{CommandLine.Name} train vae --config configs/sprites-vae.json --out runs/sprites",
        $"{CommandLine.Name} train dit --config configs/sprites-dit.json --out runs/sprites",
        $"{CommandLine.Name} train ship --vae configs/sprites-vae.json --dit configs/sprites-dit.json --out runs/sprites --to models/sprites")
    {
        One("vae", "Trains the causal video VAE.", TrainRun.Vae, console),
        One("dit", "Trains the text encoders and the diffusion transformer; after vae.", TrainRun.Dit, console),
        Ship(console),
    };

    private static ExampledCommand One(string name, string description, TrainRun.Entry entry, CliConsole console)
    {
        var config = CliOptions.Text("--config", "FILE", "what to train, JSON");
        var output = CliOptions.Text("--out", "DIR", "folder of the model's runs: states, metrics and weights");
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
        var vae = CliOptions.Text("--vae", "FILE", "configuration the VAE was trained with");
        var dit = CliOptions.Text("--dit", "FILE", "configuration the transformer was trained with");
        var output = CliOptions.Text("--out", "DIR", "folder of the model's runs");
        var target = CliOptions.Text("--to", "DIR", "model folder to write");
        vae.Required = dit.Required = output.Required = target.Required = true;
        var command = new ExampledCommand("ship", "Puts a model folder together from finished runs.",
            $"{CommandLine.Name} train ship --vae configs/sprites-vae.json --dit configs/sprites-dit.json --out runs/sprites --to models/sprites")
        {
            vae, dit, output, target,
        };
        command.SetAction(parsed =>
        {
            TrainRun.Ship(parsed.GetRequiredValue(output)!, parsed.GetRequiredValue(dit)!, parsed.GetRequiredValue(vae)!, parsed.GetRequiredValue(target)!);
            console.Result(parsed.GetRequiredValue(target)!);
            return ExitCode.Ok;
        });
        return command;
    }
}
