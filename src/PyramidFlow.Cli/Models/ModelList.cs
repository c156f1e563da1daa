using PyramidFlow.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Hub;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Torch;
using Spectre.Console;

namespace PyramidFlow.Cli.Models;

/// <summary><c>models list</c>: what is installed and what can be downloaded.</summary>
internal static class ModelList
{
    public static void Print(bool json, CliConsole console)
    {
        var installed = ModelCatalog.Installed().Select(model => Look(model.Name, model.Folder)).ToList();
        var others = ModelCatalog.Released.Where(known => installed.All(model => model.Name != known.Name)).ToList();
        if (json)
        {
            console.Result(Json(installed, others));
            return;
        }

        var table = new Table { Border = TableBorder.None, ShowHeaders = false };
        table.AddColumns("", "", "");
        foreach (var model in installed)
        {
            var runs = model.Runs.Count > 0 ? $"runs {string.Join(", ", model.Runs.Select(VariantName))}" : "does not run";
            table.AddRow(new Text(model.Name), new Text(model.Fault is null ? runs : $"{runs}; models verify says what is missing"), new Text(model.Folder));
        }

        console.Result(table);
        foreach (var known in others)
            console.Result($"to get {known.Name} ({known.Description}): {CommandLine.Name} models download {known.Name} --variant {string.Join('|', known.Variants)}");
    }

    /// <summary>A variant as the user types it.</summary>
    public static string VariantName(string variant) => variant.Length == 0 ? "its only variant" : variant;

    private static Installed Look(string name, string folder)
    {
        try
        {
            var variants = CheckpointReport.Create(CheckpointFolder.Open(folder)).Variants;
            return new Installed(name, folder, [.. variants.Where(v => v.Runs).Select(v => v.Variant)], variants.SelectMany(v => v.Faults).FirstOrDefault());
        }
        catch (CheckpointException e)
        {
            return new Installed(name, folder, [], e.Message);
        }
    }

    private static string Json(List<Installed> installed, List<ReleasedModel> others) => JsonText.Of(json =>
    {
        json.WriteStartObject();
        json.WriteStartArray("installed");
        foreach (var model in installed)
        {
            json.WriteStartObject();
            json.WriteString("name", model.Name);
            json.WriteString("folder", model.Folder);
            json.Strings("runs", model.Runs);
            json.WriteString("fault", model.Fault);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("downloadable");
        foreach (var known in others)
        {
            json.WriteStartObject();
            json.WriteString("name", known.Name);
            json.WriteString("repository", known.Repository);
            json.Strings("variants", known.Variants);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    private sealed record Installed(string Name, string Folder, IReadOnlyList<string> Runs, string? Fault);
}
