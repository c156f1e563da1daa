using System.CommandLine;
using System.CommandLine.Invocation;

namespace PyramidFlow.Cli.Parsing;

/// <summary>Prints the program's version.</summary>
internal sealed class ShowVersion : SynchronousCommandLineAction
{
    /// <summary>Such as <c>0.1.0</c>.</summary>
    public static string Version => typeof(ShowVersion).Assembly.GetName().Version!.ToString(3);

    /// <inheritdoc/>
    public override bool ClearsParseErrors => true;

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        parseResult.InvocationConfiguration.Output.WriteLine($"{CommandLine.Name} {Version}");
        return ExitCode.Ok;
    }
}
