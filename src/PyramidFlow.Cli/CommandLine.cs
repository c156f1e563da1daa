using System.CommandLine;
using System.CommandLine.Help;
using PyramidFlow.Cli.Commands;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli;

/// <summary>The whole command line: parses, runs one command, and turns every fault into one sentence and an exit code.</summary>
internal static class CommandLine
{
    /// <summary>Runs one command line.</summary>
    /// <param name="arguments">The arguments of the program.</param>
    /// <param name="console">Where results, progress and errors go.</param>
    /// <param name="cancellationToken">Stops the command within a step.</param>
    /// <returns>One of <see cref="ExitCode"/>.</returns>
    public static async Task<int> RunAsync(string[] arguments, CliConsole console, CancellationToken cancellationToken)
    {
        if (Garbled(arguments) is { } garbled)
        {
            console.Fail($"'{garbled}' holds a character that is not UTF-8: set the terminal to UTF-8, or give prompts in a file that is saved as UTF-8 (--prompts, --batch)");
            return ExitCode.WrongUsage;
        }

        // A prompt may begin with @ and options are never bundled.
        var parser = new ParserConfiguration { ResponseFileTokenReplacer = null, EnablePosixBundling = false };
        var verbose = CliOptions.Flag(CliOptions.Verbose, "show the whole of an error");
        verbose.Recursive = true;
        var root = Root(console, verbose);
        if (ShellCommand.Asked(arguments) is var (line, position))
        {
            // Help names neither -? nor /h.
            foreach (var completion in root.Parse(line, parser).GetCompletions(position).Select(found => found.InsertText ?? found.Label).Where(found => found is not ("-?" or "/?" or "/h")))
                console.Out.WriteLine(completion);
            return ExitCode.Ok;
        }

        var parsed = root.Parse(arguments, parser);
        if (WrongUsage.In(parsed) && parsed.Action is not (HelpWithExamples or ShowVersion))
            return WrongUsage.Report(parsed, console);
        try
        {
            var streams = new InvocationConfiguration
            {
                Output = console.Out,
                Error = console.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            };
            return await parsed.InvokeAsync(streams, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            return Faults.Report(e, console, parsed.GetValue(verbose), cancellationToken);
        }
    }

    // The runtime puts U+FFFD where the bytes of an argument are no UTF-8.
    private static string? Garbled(string[] arguments) =>
        arguments.FirstOrDefault(argument => argument.Contains('\uFFFD', StringComparison.Ordinal) || !StrictText.IsWhole(argument));

    private static Command Root(CliConsole console, Option<bool> verbose)
    {
        var root = new ExampledCommand(About.Name,
            "Makes videos from text or an image with Pyramidal Flow Matching.",
            $"{About.Name} generate \"a small red circle moving right on a black background\" -o red.mp4",
            $"{About.Name} doctor")
        {
            GenerateCommand.Create(console),
            ExtendCommand.Create(console),
            EvalCommand.Create(console),
            TrainCommand.Create(console),
            LaunchCommand.Create(console),
            DataCommand.Create(console),
            ExtractCommand.Create(console),
            BenchCommand.Create(console),
            ServeCommand.Create(console),
            WorkerCommand.Create(console),
            KeysCommand.Create(console),
            PlanCommand.Create(console),
            ModelsCommand.Create(console),
            DoctorCommand.Create(console),
            ShellCommand.Completion(console),
            ShellCommand.Man(console),
            verbose,
            new HelpOption { Action = new HelpWithExamples(console.HelpWidth) },
            new VersionOption { Action = new ShowVersion() },
        };
        return root;
    }
}
