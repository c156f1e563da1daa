using PyramidFlow.Cli.Output;
using PyramidFlow.Hub.Checking;
using Spectre.Console;

namespace PyramidFlow.Cli.Models;

/// <summary>Prints what a checkpoint folder can run.</summary>
internal static class VerifyReport
{
    private const int MostFaults = 8;

    /// <summary>One screen, or one JSON object.</summary>
    public static void Print(CheckpointReport report, bool json, CliConsole console)
    {
        if (json)
        {
            console.Result(Json(report));
            return;
        }

        console.Result($"{report.Folder}: {report.Family.Name} ({report.Family.Title})");
        var table = new Table { Border = TableBorder.None, ShowHeaders = false };
        table.AddColumns("", "", "");
        foreach (var part in report.Components)
            table.AddRow(new Text(part.Faults.Count == 0 ? "ok" : "FAULT"), new Text(part.Name), new Text(Contents(part)));
        console.Result(table);
        var faults = report.Variants.SelectMany(variant => variant.Faults).Distinct().ToList();
        foreach (var fault in faults.Take(MostFaults))
            console.Result("- " + fault);
        if (faults.Count > MostFaults)
            console.Result($"- and {faults.Count - MostFaults} more: see --json");
        foreach (var variant in report.Variants)
            console.Result($"{ModelList.VariantName(variant.Variant)}: {(variant.Runs ? "runs" : "does not run")}");
    }

    private static string Contents(ComponentReport part) => part.Weights == 0
        ? ""
        : FormattableString.Invariant($"{part.Weights / 1e6:F1} M weights, {string.Join(" and ", part.Types)}, {Bytes.Text(part.Bytes)}");

    private static string Json(CheckpointReport report) => JsonText.Of(json =>
    {
        json.WriteStartObject();
        json.WriteBoolean("ok", report.CanRun);
        json.WriteString("folder", report.Folder);
        json.WriteString("family", report.Family.Name);
        json.WriteStartArray("variants");
        foreach (var variant in report.Variants)
        {
            json.WriteStartObject();
            json.WriteString("variant", variant.Variant);
            json.WriteBoolean("runs", variant.Runs);
            json.Strings("faults", variant.Faults);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("parts");
        foreach (var part in report.Components)
        {
            json.WriteStartObject();
            json.WriteString("name", part.Name);
            json.WriteNumber("weights", part.Weights);
            json.WriteNumber("bytes", part.Bytes);
            json.Strings("types", part.Types);
            json.Strings("faults", part.Faults);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });
}
