using PyramidFlow.Cli.Output;
using Spectre.Console;

namespace PyramidFlow.Cli.Diagnostics;

/// <summary>Prints what the doctor found.</summary>
internal static class DoctorReport
{
    /// <summary>A table with the fixes after it, or one JSON object.</summary>
    public static void Print(IReadOnlyList<Finding> findings, bool json, CliConsole console)
    {
        if (json)
        {
            console.Result(Json(findings));
            return;
        }

        var table = new Table { Border = TableBorder.None, ShowHeaders = false };
        table.AddColumns("", "", "");
        foreach (var finding in findings)
            table.AddRow(new Text(Mark(finding.State)), new Text(finding.Name), new Text(finding.Value));
        console.Result(table);
        foreach (var finding in findings.Where(f => f.Fix is not null))
            console.Result($"to get {finding.Name}: {finding.Fix}");
        if (findings.All(f => f.State != FindingState.Missing))
            console.Result("ready");
    }

    private static string Mark(FindingState state) => state switch
    {
        FindingState.Ok => "ok",
        FindingState.Optional => "note",
        _ => "MISSING",
    };

    private static string Json(IReadOnlyList<Finding> findings) => JsonText.Of(json =>
    {
        json.WriteStartObject();
        json.WriteBoolean("ok", findings.All(f => f.State != FindingState.Missing));
        json.WriteStartArray("checks");
        foreach (var finding in findings)
        {
            json.WriteStartObject();
            json.WriteString("name", finding.Name);
            json.WriteString("state", finding.State.ToString().ToLowerInvariant());
            json.WriteString("value", finding.Value);
            json.WriteString("fix", finding.Fix);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });
}
