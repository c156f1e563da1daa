using System.CommandLine;
using PyramidFlow.Cli.Diagnostics;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>doctor</c>: what is installed, and the command that mends what is missing.</summary>
internal static class DoctorCommand
{
    public static Command Create(CliConsole console)
    {
        var json = CliOptions.Flag("--json", "print JSON instead of a table");
        var command = new ExampledCommand("doctor", "Shows what is installed and how to get what is missing.",
            $"{CommandLine.Name} doctor", $"{CommandLine.Name} doctor --json") { json };
        command.SetAction(async (parsed, cancel) =>
        {
            var findings = await Doctor.ExamineAsync(cancel).ConfigureAwait(false);
            DoctorReport.Print(findings, parsed.GetValue(json), console);
            return findings.Any(f => f.State == FindingState.Missing) ? ExitCode.Failed : ExitCode.Ok;
        });
        return command;
    }
}
