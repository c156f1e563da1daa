using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Hub.Conversion;
using PyramidFlow.Hub.Downloads;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using Spectre.Console;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>models</c>: what is installed, whether it can run, and how to get more.</summary>
internal static class ModelsCommand
{
    private const string Name = $"{About.Name} models";

    public static Command Create(CliConsole console) => new ExampledCommand("models", "Lists, checks, downloads, converts and makes checkpoints.",
        $"{Name} list", $"{Name} download pyramid-flow-miniflux --variant 384p")
    {
        List(console), Verify(console), Download(console), Convert(console), Random(console),
    };

    private static ExampledCommand List(CliConsole console)
    {
        var json = CliOptions.Flag("--json", "print JSON instead of a table");
        var command = new ExampledCommand("list", "Shows what is installed and what can be downloaded.", $"{Name} list --json") { json };
        command.SetAction((parsed, _) =>
        {
            ModelList.Print(parsed.GetValue(json), console);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    private static ExampledCommand Verify(CliConsole console)
    {
        var folder = new Argument<string>("FOLDER") { Description = "checkpoint folder, or a name that models list shows" };
        var json = CliOptions.Flag("--json", "print JSON instead of a table");
        var quick = CliOptions.Flag("--quick", "read no weights: leave out that all of them are finite numbers");
        var command = new ExampledCommand("verify", "Says what a checkpoint can run, and which file is missing, short, of another model, or holds a weight that is not a finite number.",
            $"{Name} verify ./pyramid-flow-miniflux") { folder, quick, json };
        command.SetAction((parsed, cancellationToken) =>
        {
            var named = parsed.GetRequiredValue(folder);
            var report = CheckpointReport.Create(CheckpointFolder.Open(Directory.Exists(named) ? named : ModelNames.Find(named)), null, !parsed.GetValue(quick), cancellationToken);
            VerifyReport.Print(report, parsed.GetValue(json), console);
            return Task.FromResult(report.CanRun ? ExitCode.Ok : ExitCode.Failed);
        });
        return command;
    }

    private static ExampledCommand Download(CliConsole console)
    {
        var name = new Argument<string>("NAME") { Description = $"{string.Join(", ", ModelCatalog.Released.Select(known => known.Name))}, or OWNER/NAME of a repository" };
        var variant = CliOptions.Text("--variant", "NAME", "transformer to bring: 384p, 768p or image [default: 384p]");
        var revision = CliOptions.Text("--revision", "NAME", "branch, tag or commit [default: main]");
        var output = CliOptions.Text("--output", "DIR", $"checkpoint folder to write [default: NAME in {ModelCatalog.Variable}, else here]", "-o");
        var parallel = CliOptions.Whole("--parallel", "N", "files fetched at the same time [default: 4]", 1);
        var command = new ExampledCommand("download", "Brings a checkpoint from the Hugging Face hub (HF_ENDPOINT, HF_TOKEN); goes on where an earlier run stopped.",
            $"{Name} download pyramid-flow-miniflux --variant 384p", $"{Name} download pyramid-flow-sd3 --variant 768p -o ./sd3") { name, variant, revision, output, parallel };
        command.SetAction((parsed, cancellationToken) => new DownloadRun(console).RunAsync(parsed.GetRequiredValue(name), parsed.GetValue(variant),
            parsed.GetValue(revision) ?? "main", parsed.GetValue(output), parsed.GetValue(parallel), cancellationToken));
        return command;
    }

    private static ExampledCommand Convert(CliConsole console)
    {
        var source = new Argument<string>("SRC") { Description = "checkpoint folder, folder of one model, or a .safetensors, .bin, .pt or .pth file" };
        var target = new Argument<string>("DST") { Description = "new folder" };
        var type = CliOptions.Choice("--dtype", "number type to write [default: as it is]", "bf16", "fp32", "fp16");
        var int8 = CliOptions.Flag("--int8", "round the large matrices of transformer and T5 to int8 with a factor for each row: half the memory of bf16; says what is lost");
        var command = new ExampledCommand("convert", "Writes a checkpoint as safetensors in the released layout, also one that a trainer saved.",
            $"{Name} convert ./pyramid-flow-miniflux ./miniflux-fp16 --dtype fp16", $"{Name} convert ./pyramid-flow-miniflux ./miniflux-int8 --int8",
            $"{Name} convert ema.pt ./diffusion_transformer") { source, target, type, int8 };
        command.SetAction((parsed, cancellationToken) =>
        {
            using var line = new WritingLine(console);
            var reports = new List<string>();
            var options = new ConversionOptions { Type = NumberTypes.Parse(parsed.GetValue(type)), Int8 = parsed.GetValue(int8), Report = reports.Add };
            var notes = CheckpointConversion.Convert(parsed.GetRequiredValue(source), parsed.GetRequiredValue(target), options, line, cancellationToken);
            line.Dispose();
            reports.ForEach(console.Note);
            foreach (var note in notes)
                console.Warn(note);
            console.Result(parsed.GetRequiredValue(target));
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    private static ExampledCommand Random(CliConsole console)
    {
        var folder = new Argument<string>("DIR") { Description = "new folder" };
        var layout = CliOptions.Choice("--layout", "which checkpoint it is like [default: miniflux]", [.. RandomLayout.All]);
        var scale = CliOptions.Choice("--scale", "how large: of real size (15 GB and more), tiny, or tiny with a transformer of real width and three blocks (0.5 GB) to measure [default: real]", "real", "tiny", "wide");
        var seed = CliOptions.Seed("--seed", "seed of the weights [default: 0]");
        var command = new ExampledCommand("random", "Writes a checkpoint with random weights: to see whether a model of real size runs here before it is downloaded.",
            $"{Name} random --layout miniflux --scale tiny ./tiny") { folder, layout, scale, seed };
        command.SetAction((parsed, cancellationToken) =>
        {
            using var line = new WritingLine(console);
            var options = new RandomOptions(
                parsed.GetValue(layout) ?? ModelFamilies.Flux.ShortName,
                parsed.GetValue(scale) switch { "tiny" => RandomScale.Tiny, "wide" => RandomScale.Wide, _ => RandomScale.Real },
                parsed.GetValue(seed) ?? 0);
            RandomCheckpoint.Write(parsed.GetRequiredValue(folder), options, line, cancellationToken);
            line.Dispose();
            console.Result(parsed.GetRequiredValue(folder));
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }
}

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
            console.Result($"to get {known.Name} ({known.Description}): {About.Name} models download {known.Name} --variant {string.Join('|', known.Variants)}");
    }

    /// <summary>A variant as the user types it.</summary>
    public static string VariantName(string variant) => variant.Length == 0 ? "plain" : variant;

    private static Installed Look(string name, string folder)
    {
        try
        {
            var variants = CheckpointReport.Create(CheckpointFolder.Open(folder)).Variants;
            return new Installed(name, folder, [.. variants.Where(v => v.Runs).Select(v => v.Variant)], variants.SelectMany(v => v.Faults).FirstOrDefault()?.Message);
        }
        catch (CheckpointException e)
        {
            return new Installed(name, folder, [], e.Message);
        }
    }

    private static string Json(List<Installed> installed, List<ReleasedModel> others) => ReadableJson.Write(indented: true, write: json =>
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
        var faults = report.Variants.SelectMany(variant => variant.Faults).Select(fault => fault.Message).Distinct().ToList();
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

    private static string Json(CheckpointReport report) => ReadableJson.Write(indented: true, write: json =>
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
            json.Strings("faults", variant.Faults.Select(fault => fault.Message));
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
            json.Strings("faults", part.Faults.Select(fault => fault.Message));
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });
}

/// <summary><c>models download</c>: downloads a variant of a checkpoint and prints how to use it.</summary>
internal sealed class DownloadRun(CliConsole console)
{
    public async Task<int> RunAsync(string name, string? variant, string revision, string? output, int? parallel, CancellationToken cancellationToken)
    {
        var (source, shortName) = ModelNames.FindDownload(name, revision);
        var folder = output ?? DefaultFolder(shortName);
        using var line = new ProgressLine(console);
        var options = new HubOptions { Notify = note => Say(line, note) };
        using var client = new HubClient(HubEndpoint.FromEnvironment(), parallel is { } count ? options with { Parallel = count } : options);
        var plan = DownloadPlan.Create(source, await client.ListAsync(source, cancellationToken).ConfigureAwait(false), variant, folder);
        console.Note($"{source.Repository}, {ModelList.VariantName(plan.Variant)}: {plan.Files.Count} files, {Bytes.Text(plan.TotalBytes)}"
            + (plan.KeptBytes > 0 ? $", of which {Bytes.Text(plan.KeptBytes)} are there" : "")
            + (plan.Others.Count > 0 && variant is null ? $" (--variant {string.Join(" or ", plan.Others)} for another)" : ""));
        try
        {
            await ModelDownload.RunAsync(client, plan, new Watch(line), cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or HubException or OperationCanceledException)
        {
            line.Clear();
            if (plan.KeptBytes > 0)
                console.Note($"{Bytes.Text(plan.KeptBytes)} of {Bytes.Text(plan.TotalBytes)} are kept in {plan.Folder} (unfinished files are called .*.partial): the same command goes on from there");
            throw;
        }

        line.Clear();
        return Finish(plan);
    }

    // The first folder of the model path, else the current folder.
    private static string DefaultFolder(string name) => Path.Combine(ModelCatalog.NamedRoots() is [var first, ..] ? first : ".", name);

    // A complete download may still be a model that this program cannot run.
    private int Finish(DownloadPlan plan)
    {
        var report = CheckpointReport.Create(CheckpointFolder.Open(plan.Folder), plan.Variant).Variants[0];
        foreach (var fault in report.Faults)
            console.Warn(fault.Message);
        console.Result(plan.Folder);
        if (!report.Runs)
            return ExitCode.Failed;
        var option = plan.Variant.Length > 0 ? $" --variant {plan.Variant}" : "";
        console.Note($"to use it: {About.Name} generate \"...\" --model {plan.Folder}{option}");
        return ExitCode.Ok;
    }

    private void Say(ProgressLine line, string note)
    {
        line.Clear();
        console.Note(note);
    }

    private sealed class Watch(ProgressLine line) : IProgress<DownloadProgress>
    {
        public void Report(DownloadProgress value) => line.Update("downloading",
            $"{Bytes.Text(value.Bytes)} of {Bytes.Text(value.TotalBytes)}, {value.Files} of {value.TotalFiles} files, {Bytes.Text(value.BytesPerSecond)}/s",
            value.TotalBytes > 0 ? (double)value.Bytes / value.TotalBytes : 1, value.Left ?? TimeSpan.Zero);
    }
}

/// <summary>Progress of a checkpoint that is being written.</summary>
internal sealed class WritingLine(CliConsole console) : IProgress<WorkProgress>, IDisposable
{
    private const double WorthSaying = 0.01;

    private readonly ProgressLine line = new(console);

    public void Report(WorkProgress value)
    {
        var fraction = value.TotalBytes > 0 ? (double)value.Bytes / value.TotalBytes : 1;
        var total = Bytes.Text(value.TotalBytes);
        // The first tensor is often a bias of a few bytes, too little to show.
        line.Update(value.Part.Length > 0 ? value.Part : "writing", fraction < WorthSaying ? total : $"{Bytes.Text(value.Bytes)} of {total}", fraction);
    }

    public void Dispose() => line.Dispose();
}
