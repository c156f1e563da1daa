using System.Text.Json;
using PyramidFlow.Cli.Output;
using PyramidFlow.Training.Data;
using Spectre.Console;

namespace PyramidFlow.Cli.Datasets;

/// <summary>Prints what a data set holds.</summary>
internal static class DataReportText
{
    private const int MostFaults = 20;

    /// <summary>A table and sentences, or one JSON object.</summary>
    public static void Print(DataReport report, bool json, CliConsole console)
    {
        foreach (var warning in report.Warnings.Take(MostFaults))
            console.Warn(warning.ToString());
        if (report.Warnings.Count > MostFaults)
            console.Warn($"and {report.Warnings.Count - MostFaults} more: see --json");
        if (json)
        {
            console.Result(JsonText.Of(writer => Write(report, writer)));
            return;
        }

        console.Result($"{report.Lines} lines, {report.Usable} usable: {report.Videos} videos, {report.Images} images; "
            + $"{report.Captions} with a caption, {report.Latents} with latents, {report.TextFeatures} with text features");
        if (report.Buckets.Count > 0)
        {
            var table = new Table { Border = TableBorder.Simple };
            table.AddColumns("bucket", "items");
            foreach (var (bucket, count) in report.Buckets)
                table.AddRow(new Text(bucket.ToString()), new Text($"{count}"));
            console.Result(table);
        }

        if (report.Seconds is { } seconds)
            console.Result(FormattableString.Invariant($"videos last {seconds.Shortest:0.##} to {seconds.Longest:0.##} s, median {seconds.Median:0.##} s, {Durations.Text(TimeSpan.FromSeconds(seconds.Sum))} in all"));
        if (report.CaptionLengths is { } lengths)
            console.Result($"captions have {lengths.Shortest} to {lengths.Longest} tokens, median {lengths.Median}; {lengths.Cut} are longer than the {lengths.Limit} that are read");
        foreach (var kind in report.Faults.GroupBy(fault => fault.Kind).OrderBy(group => group.Key))
            console.Result($"{kind.Count()} {FaultLog.Name(kind.Key)}");
        foreach (var fault in report.Faults.Take(MostFaults))
            console.Result("- " + fault);
        if (report.Faults.Count > MostFaults)
            console.Result($"- and {report.Faults.Count - MostFaults} more: see --json");
    }

    private static void Write(DataReport report, Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteBoolean("ok", report.Faults.Count == 0);
        foreach (var (name, value) in Counts(report))
            json.WriteNumber(name, value);
        json.WriteStartArray("buckets");
        foreach (var (bucket, count) in report.Buckets)
        {
            json.WriteStartObject();
            json.WriteNumber("width", bucket.Width);
            json.WriteNumber("height", bucket.Height);
            json.WriteNumber("frames", bucket.Frames);
            json.WriteNumber("items", count);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        if (report.Seconds is { } seconds)
        {
            Numbers(json, "seconds", ("shortest", seconds.Shortest), ("median", seconds.Median), ("longest", seconds.Longest), ("sum", seconds.Sum));
        }

        if (report.CaptionLengths is { } lengths)
        {
            Numbers(json, "caption_tokens", ("shortest", lengths.Shortest), ("median", lengths.Median), ("longest", lengths.Longest), ("limit", lengths.Limit), ("cut", lengths.Cut));
        }

        Faults(json, "faults", report.Faults);
        Faults(json, "warnings", report.Warnings);
        json.WriteEndObject();
    }

    private static void Faults(Utf8JsonWriter json, string name, IReadOnlyList<DataFault> faults)
    {
        json.WriteStartArray(name);
        foreach (var fault in faults)
        {
            json.WriteStartObject();
            json.WriteString("file", fault.File);
            json.WriteNumber("line", fault.Line);
            json.WriteString("kind", JsonNamingPolicy.SnakeCaseLower.ConvertName(fault.Kind.ToString()));
            json.WriteString("reason", fault.Reason);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static IEnumerable<(string Name, int Value)> Counts(DataReport report) =>
        [("lines", report.Lines), ("usable", report.Usable), ("videos", report.Videos), ("images", report.Images), ("captions", report.Captions),
            ("latents", report.Latents), ("text_features", report.TextFeatures)];

    private static void Numbers(Utf8JsonWriter json, string name, params ReadOnlySpan<(string Name, double Value)> values)
    {
        json.WriteStartObject(name);
        foreach (var (key, value) in values)
            json.WriteNumber(key, value);
        json.WriteEndObject();
    }
}
