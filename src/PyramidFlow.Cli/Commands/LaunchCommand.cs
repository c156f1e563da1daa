using System.CommandLine;
using PyramidFlow.Cli.Launching;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>launch</c>: one command in several processes that work together.</summary>
internal static class LaunchCommand
{
    public static Command Create(CliConsole console)
    {
        var count = CliOptions.Whole("--nproc", "N", "processes on this machine", 1, 1024);
        count.Required = true;
        var arguments = new Argument<string[]>("command")
        {
            Description = "what each of them runs, after --",
            Arity = ArgumentArity.OneOrMore,
        };
        var command = new ExampledCommand("launch",
            "Runs a command in several processes that train together; real torchrun, which sets the same variables, works too.",
            $"{CommandLine.Name} launch --nproc 2 -- train dit --config configs/sprites-dit.json --out runs/sprites") { count, arguments };
        command.SetAction((parsed, cancel) => LaunchRun.RunAsync(parsed.GetValue(count)!.Value, parsed.GetRequiredValue(arguments), console, cancel));
        return command;
    }
}
