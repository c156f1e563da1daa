using System.CommandLine;
using System.Text;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>train init</c>: a configuration that fits a data set and this machine.</summary>
internal static class TrainInitCommand
{
    private const string UsualOutput = "train.json", UsualPart = "lora";

    public static Command Create(CliConsole console)
    {
        var data = new Argument<string[]>("DATA") { Description = "folders such as one with clip.mp4 and clip.txt, annotation files, or shards", Arity = ArgumentArity.OneOrMore };
        var part = CliOptions.Choice("--for", $"what to train [default: {UsualPart}]", UsualPart, "dit", "vae");
        var model = CliOptions.Text("--model", "DIR|NAME", $"model that the training begins with [default: {ModelCatalog.Default}]");
        var variant = CliOptions.Text("--variant", "NAME", "its transformer [default: the first]");
        var device = CliOptions.Choice("--device", "where it will train [default: a GPU where there is one]", "cpu", "cuda");
        var output = CliOptions.Text("--output", "FILE", $"configuration to write [default: {UsualOutput}]", "-o");
        var command = new ExampledCommand("init", "Looks at a data set and writes a configuration that fits it, with a comment on each line and a JSON schema beside it.",
            $"{About.Name} train init clips -o mine.json",
            $"{About.Name} train init clips --model pyramid-flow-miniflux --variant 384p -o mine.json",
            $"{About.Name} train init data/train.jsonl --for dit --model pyramid-flow-sd3 --device cuda") { data, part, model, variant, device, output };
        command.SetAction((parsed, cancellationToken) => new TrainInitRun(console).RunAsync(parsed.GetRequiredValue(data), parsed.GetValue(part) ?? UsualPart,
            parsed.GetValue(model) ?? ModelCatalog.Default, parsed.GetValue(variant), parsed.GetValue(device), parsed.GetValue(output) ?? UsualOutput, cancellationToken));
        return command;
    }
}

/// <summary>One run of <c>train init</c>.</summary>
internal sealed class TrainInitRun(CliConsole console)
{
    private const int Workers = 2;

    /// <summary>Scans the data, writes the configuration and its schema, and says what comes next.</summary>
    /// <param name="data">Folders and annotation files.</param>
    /// <param name="part">Kind of training: <c>lora</c>, <c>dit</c> or <c>vae</c>.</param>
    /// <param name="model">The model as typed.</param>
    /// <param name="variant">Variant of its transformer; null is the first.</param>
    /// <param name="device"><c>cpu</c> or <c>cuda</c>; null is a GPU where there is one.</param>
    /// <param name="output">File to write; it must not exist.</param>
    /// <param name="cancellationToken">Stops the scan.</param>
    /// <exception cref="UsageException">The file exists, or there is no such model or data.</exception>
    /// <exception cref="PyramidFlow.Training.TrainingException">The data cannot be used.</exception>
    public async Task<int> RunAsync(IReadOnlyList<string> data, string part, string model, string? variant, string? device, string output, CancellationToken cancellationToken)
    {
        OutputFile.Check(output, ".json");
        if (File.Exists(output))
            throw CommandFault.ConfigurationThere(output);
        foreach (var path in data.Where(source => !ShardAddress.IsShard(source)))
            OutputFile.CheckInput(path, "name a folder with clips and texts, an annotation file, or shards", orFolder: true);
        var start = TrainingStart.Find(model, variant);
        var faults = new FaultLog();
        var found = await ScanAsync(data, start, faults, cancellationToken).ConfigureAwait(false);
        found.Require(faults, skipMissing: false);

        var proposal = new ConfigProposal(part, start, found, device ?? (TorchRuntime.HasCuda ? "cuda" : "cpu"));
        if (proposal.Captions == 0 && part != "vae")
            throw CommandFault.NoCaptions(found.Items.Count);
        var (folder, schema) = (Path.GetDirectoryName(Path.GetFullPath(output))!, ConfigSchemas.FileOf(part));
        WriteNew(output, proposal.Write(schema, ModelCatalog.FindInstalled(model) is null && start.IsHere ? FromConfig(model) : model, [.. data.Select(FromConfig)]));
        await File.WriteAllTextAsync(Path.Combine(folder, schema), ConfigSchemas.Read(part), cancellationToken).ConfigureAwait(false);

        foreach (var sentence in faults.Summary())
            console.Warn(sentence);
        console.Note(proposal.Found);
        console.Result(output);
        if (!start.IsHere)
            console.Note($"the model is not on this machine yet: {VideoOfRun.Line("models", "download", model)}");
        console.Note($"look it over, then: {VideoOfRun.Line("train", part, "--config", output, "--out", "runs/" + Path.GetFileNameWithoutExtension(output))}");
        return faults.Faults.Count > 0 ? ExitCode.LeftOut : ExitCode.Ok;

        string FromConfig(string path) => ShardAddress.IsRemote(path) ? path : Path.GetRelativePath(folder, path).Replace('\\', '/');
    }

    private async Task<DataSet> ScanAsync(IReadOnlyList<string> data, TrainingStart start, FaultLog faults, CancellationToken cancellationToken)
    {
        using var line = new ProgressLine(console);
        var progress = new ScanningLine(line);
        // Lines with latents need no pictures any more.
        var annotations = await AnnotationSource.ReadAsync(faults, data, cancellationToken: cancellationToken).ConfigureAwait(false);
        var latents = annotations.All(annotation => annotation.Latent is not null);
        var options = new DataOptions { Annotations = data, Workers = Workers, Sizes = latents ? null : start.Sizes, Frames = latents ? null : start.Lengths, MaxFrames = start.Lengths[^1] };
        return latents
            ? await DataSources.ScanLatentsAsync(options, CaptionForm.None, start.Channels, faults, progress, cancellationToken, annotations).ConfigureAwait(false)
            : await DataSources.ScanClipsAsync(options, captions: false, faults, progress, cancellationToken, annotations).ConfigureAwait(false);
    }

    private static void WriteNew(string path, string text)
    {
        try
        {
            using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write);
            file.Write(Encoding.UTF8.GetBytes(text));
        }
        catch (IOException) when (File.Exists(path))
        {
            throw CommandFault.ConfigurationThere(path);
        }
    }
}
