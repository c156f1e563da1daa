using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace PyramidFlow.Cli.Parsing;

/// <summary>The help of a command, and examples after it.</summary>
internal sealed class HelpWithExamples : SynchronousCommandLineAction
{
    /// <inheritdoc/>
    public override bool ClearsParseErrors => true;

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        new HelpAction().Invoke(parseResult);
        if (parseResult.CommandResult.Command is not ExampledCommand { Examples.Count: > 0 } command)
            return ExitCode.Ok;
        var output = parseResult.InvocationConfiguration.Output;
        output.WriteLine("Examples:");
        foreach (var example in command.Examples)
            output.WriteLine("  " + example);
        output.WriteLine();
        return ExitCode.Ok;
    }
}
