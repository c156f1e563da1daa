using System.CommandLine;
using PyramidFlow.Cli.Evaluating;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Sprites;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>eval sprites</c>: how often a model makes what the prompt says.</summary>
internal static class EvalCommand
{
    private const int DefaultCount = 200, CheckpointCount = 50;

    public static Command Create(CliConsole console) => new ExampledCommand("eval", "Measures how good a model is.",
        $"{CommandLine.Name} eval sprites --count 200 --seed 0",
        $"{CommandLine.Name} eval checkpoints --out runs/sprites --count 50") { Sprites(console), Checkpoints(console) };

    private static ExampledCommand Sprites(CliConsole console)
    {
        var count = CliOptions.Whole("--count", "N", $"clips to generate and judge [default: {DefaultCount}]", 1);
        var seed = CliOptions.Seed("--seed", "which prompts and noise [default: 0]");
        var mode = CliOptions.Choice("--mode", "what to evaluate: videos from prompts, the continuation of given frames, or a change of prompt [default: video]", [.. SpriteEvaluation.Modes]);
        var colour = CliOptions.Choice("--colour", "ask for sprites of this colour only [default: all eight; pink is one that training does not show]",
            [.. Enum.GetNames<SpriteColour>().Select(name => name.ToLowerInvariant())]);
        var json = CliOptions.Flag("--json", "print one JSON object instead of a table");
        var sheet = CliOptions.Text("--sheet", "FILE", "also write a picture of the first 12 clips (.png)");
        var settings = new SettingOptions(extends: false, "steps", "video_steps", "reuse_prefix", "guidance_every", "solver");
        var model = new ModelOptions();
        var command = new ExampledCommand("sprites",
            "Generates clips of unseen prompts, measures what they show, and prints the share that is right.",
            $"{CommandLine.Name} eval sprites --count 200 --seed 0",
            $"{CommandLine.Name} eval sprites --mode schedule --count 50",
            $"{CommandLine.Name} eval sprites --count 12 --sheet sheet.png --json",
            $"{CommandLine.Name} eval sprites --count 60 --solver second-order --steps 5,5,5 --video-steps 3,3,3",
            $"{CommandLine.Name} eval sprites --lora pink.safetensors --colour pink --count 100") { mode, count, seed, colour, json, sheet };
        settings.AddSamplingTo(command);
        model.AddTo(command);
        command.SetAction((parsed, cancel) => new SpriteEvaluation(console).RunAsync(parsed.GetValue(mode) ?? SpriteEvaluation.Modes[0], parsed.GetValue(count) ?? DefaultCount,
            new SpriteScenes((long)(parsed.GetValue(seed) ?? 0), parsed.GetValue(colour) is { } name ? Enum.Parse<SpriteColour>(name, ignoreCase: true) : null),
            settings.Read(parsed, new ClipArguments()), model.Read(parsed), parsed.GetValue(json), parsed.GetValue(sheet), cancel));
        return command;
    }

    private static ExampledCommand Checkpoints(CliConsole console)
    {
        var output = CliOptions.Text("--out", "DIR", "folder of all runs of the model");
        var count = CliOptions.Whole("--count", "N", $"clips to generate and judge for each [default: {CheckpointCount}]", 1);
        var seed = CliOptions.Seed("--seed", "which prompts and noise [default: 0]");
        var steps = CliOptions.Steps("--steps", "only those of these steps [default: all]");
        var threads = CliOptions.Whole("--threads", "N", "CPU threads [default: all]", 1);
        output.Required = true;
        var command = new ExampledCommand("checkpoints",
            "Judges the weights a training of the transformer kept on its way, against what they cost.",
            $"{CommandLine.Name} eval checkpoints --out runs/sprites --count 50") { output, steps, count, seed, threads };
        command.SetAction((parsed, cancel) => new CheckpointEvaluation(console).RunAsync(parsed.GetRequiredValue(output)!,
            parsed.GetValue(steps), parsed.GetValue(count) ?? CheckpointCount, (long)(parsed.GetValue(seed) ?? 0), parsed.GetValue(threads), cancel));
        return command;
    }
}
