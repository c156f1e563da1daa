using PyramidFlow.Benchmarks;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Output;

namespace PyramidFlow.Cli.Plotting;

/// <summary>One run of <c>bench plot</c>: the shares of kept benchmarks over time.</summary>
internal static class HistoryPlot
{
    /// <summary>Reads, draws and writes.</summary>
    /// <param name="folder">Kept reports.</param>
    /// <param name="output">SVG file to write.</param>
    /// <param name="console">Takes the name of the file.</param>
    public static int Run(string folder, string output, CliConsole console)
    {
        OutputFile.Check(output, ".svg");
        var plot = new LinePlot("What models reach of the speed of single operations", "day", "% of the rate", LogX: false, LogY: false) { DaysX = true };
        File.WriteAllText(output, plot.Draw([.. Curves(folder)]));
        console.Result(output);
        return ExitCode.Ok;
    }

    private static IEnumerable<Curve> Curves(string folder)
    {
        try
        {
            return BenchmarkHistory.Read(folder).Select(line => new Curve(line.Label, [.. line.Points.Select(p => ((double)p.Day.DayNumber, 100 * p.Share))]));
        }
        catch (ArgumentException e) when (UserFault.Is(e))
        {
            throw new UsageException(e.Message, e);
        }
    }
}
