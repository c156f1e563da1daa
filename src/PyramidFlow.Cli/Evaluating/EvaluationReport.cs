using PyramidFlow.Cli.Output;
using Spectre.Console;

namespace PyramidFlow.Cli.Evaluating;

/// <summary>Prints the result of an evaluation.</summary>
internal static class EvaluationReport
{
    /// <summary>A table, or one JSON object with shares 0 to 1 and other figures in their units.</summary>
    public static void Print(int count, ISpriteTrial trial, double? psnr, bool json, CliConsole console)
    {
        if (json)
        {
            console.Result(Json(count, trial, psnr));
            return;
        }

        var table = new Table().AddColumn("attribute").AddColumn(new TableColumn("right").RightAligned());
        foreach (var (name, share) in trial.Shares)
            table.AddRow(Words(name), FormattableString.Invariant($"{100 * share:F1}%"));
        foreach (var (_, words, value) in trial.Figures)
            table.AddRow(words, FormattableString.Invariant($"{value:F2}"));
        if (psnr is { } decibels)
            table.AddRow("VAE reconstruction", FormattableString.Invariant($"{decibels:F2} dB"));
        table.Title = new TableTitle($"{count} clips");
        console.Result(table);
    }

    private static string Words(string name) => name switch
    {
        "all" => "all right together",
        "kept" => "colour and shape kept",
        "turned" => "turned as the prompts say",
        _ => name.Replace('_', ' '),
    };

    private static string Json(int count, ISpriteTrial trial, double? psnr) => JsonText.Of(indented: false, write: json =>
    {
        json.WriteStartObject();
        json.WriteNumber("count", count);
        foreach (var (name, share) in trial.Shares)
            json.WriteNumber(name, share);
        foreach (var (name, _, value) in trial.Figures)
            json.WriteNumber(name, value);
        if (psnr is { } decibels)
            json.WriteNumber("psnr", decibels);
        json.WriteEndObject();
    });
}
