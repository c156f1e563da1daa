using PyramidFlow.Benchmarks;
using Spectre.Console;

namespace PyramidFlow.Cli.Output;

/// <summary>Prints what a benchmark measured.</summary>
internal static class BenchReport
{
    /// <summary>A table under the machine's rates, the same in Markdown, or one JSON object.</summary>
    public static void Print(BenchmarkReport report, bool json, bool markdown, CliConsole console)
    {
        if (json || markdown)
        {
            console.Result((json ? report.ToJson() : report.ToMarkdown()).TrimEnd());
            return;
        }

        console.Result(report.RatesLine);
        var table = new Table { Border = TableBorder.Simple };
        foreach (var (i, column) in report.Columns.Index())
            table.AddColumn(new TableColumn(new Text(column)) { Alignment = i is 0 or 3 ? Justify.Left : Justify.Right });
        foreach (var row in report.Rows)
            table.AddRow(report.Cells(row).Select(cell => new Text(cell)));
        console.Result(table);
    }
}
