using System.CommandLine;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Cli.Training;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>train vae</c>, <c>train dit</c>, <c>train lora</c> and <c>train ship</c>.</summary>
internal static class TrainCommand
{
    public static Command Create(CliConsole console) => new ExampledCommand("train",
        "Trains the models of the sprites world; a run that was stopped goes on where it was.",
        $"{CommandLine.Name} train vae --config configs/sprites-vae.json --out runs/sprites",
        $"{CommandLine.Name} train dit --config configs/sprites-dit.json --out runs/sprites",
        $"{CommandLine.Name} train ship --out runs/sprites --model models/sprites")
    {
        One("vae", "Trains the causal video VAE.", TrainRun.Vae, console),
        One("dit", "Trains the text encoders and the diffusion transformer on the VAE's latents.", TrainRun.Dit, console),
        One("lora", "Trains a LoRA of a model folder's transformer, to be used with --lora.", TrainRun.Lora, console),
        Ship(console),
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
}
