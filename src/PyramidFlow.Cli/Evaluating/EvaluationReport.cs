using System.Text;
using System.Text.Json;
using PyramidFlow.Cli.Output;
using PyramidFlow.Training.Sprites;
using Spectre.Console;

namespace PyramidFlow.Cli.Evaluating;

/// <summary>Prints the result of an evaluation.</summary>
internal static class EvaluationReport
{
    /// <summary>A table, or one JSON object with shares 0 to 1 and dB.</summary>
    public static void Print(SpriteAccuracy accuracy, double psnr, bool json, CliConsole console)
    {
        (string Name, double Share)[] shares =
        [
            ("colour", accuracy.Colour), ("shape", accuracy.Shape), ("size", accuracy.Size), ("motion", accuracy.Motion),
            ("background", accuracy.Background), ("all", accuracy.All),
        ];
        if (json)
        {
            console.Result(Json(accuracy.Count, shares, psnr));
            return;
        }

        var table = new Table().AddColumn("attribute").AddColumn(new TableColumn("right").RightAligned());
        foreach (var (name, share) in shares)
            table.AddRow(name == "all" ? "all right together" : name, FormattableString.Invariant($"{100 * share:F1}%"));
        table.AddRow("VAE reconstruction", FormattableString.Invariant($"{psnr:F2} dB"));
        table.Title = new TableTitle($"{accuracy.Count} clips");
        console.Result(table);
    }

    private static string Json(int count, (string Name, double Share)[] shares, double psnr)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("count", count);
            foreach (var (name, share) in shares)
                json.WriteNumber(name, share);
            json.WriteNumber("psnr", psnr);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }
}
