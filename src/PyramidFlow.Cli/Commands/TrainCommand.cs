using System.CommandLine;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Models.Lora;
using PyramidFlow.Sprites;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>train vae</c>, <c>train dit</c>, <c>train lora</c>, <c>train distill</c>, <c>train init</c>, <c>train export</c> and <c>train plot</c>.</summary>
internal static class TrainCommand
{
    public static Command Create(CliConsole console) => new ExampledCommand("train",
        "Trains models on your own data, or those of the sprites world; a run that was stopped goes on where it was (docs/training.md).",
        $"{About.Name} train init clips -o mine.json",
        $"{About.Name} train lora --config mine.json --out runs/mine",
        $"{About.Name} train dit --config configs/sprites-dit.json --out runs/sprites",
        $"{About.Name} train distill --config configs/sprites-distill.json --out runs/student",
        $"{About.Name} train vae --config configs/vae-stage1.json --out runs/vae-stage1",
        $"{About.Name} train export runs/sprites models/mine")
    {
        TrainInitCommand.Create(console),
        One("vae", "Trains the causal video VAE.", TrainRun.Vae, console),
        One("dit", "Trains the text encoders and the diffusion transformer on the VAE's latents.", TrainRun.Dit, console),
        One("lora", "Trains a LoRA of a model folder's transformer, to be used with --lora.", TrainRun.Lora, console),
        One("distill", "Trains a student that needs fewer steps of a stage, no second row for guidance, or both (docs/distillation.md).", TrainRun.Distill, console),
        ExportCommand.Create(console),
        Plot(console),
    };

    private static ExampledCommand One(string name, string description, TrainRun.Entry entry, CliConsole console)
    {
        var config = CliOptions.Text("--config", "FILE", "what to train, JSON");
        var output = CliOptions.Text("--out", "DIR", "folder of all runs of the model: states, metrics and weights");
        var set = CliOptions.Several("--set", "KEY=VALUE", "a value in place of that of the file, such as steps=200 or data.workers=2; may be repeated", ConfigSetting.Parse);
        var threads = CliOptions.Whole("--threads", "N", "CPU threads [default: those of the configuration, or all]", 1);
        config.Required = output.Required = true;
        var command = new ExampledCommand(name, description,
            $"{About.Name} train {name} --config configs/sprites-{name}.json --out runs/sprites",
            $"{About.Name} train {name} --config configs/sprites-{name}.json --set steps=200 --set log_every=10 --out runs/short") { config, set, output, threads };
        command.SetAction((parsed, cancellationToken) => TrainRun.RunAsync(entry,
            new TrainingConfigSource(parsed.GetRequiredValue(config)!, parsed.GetValue(set) ?? []), parsed.GetRequiredValue(output)!,
            parsed.GetValue(threads), console, cancellationToken));
        return command;
    }

    private static ExampledCommand Plot(CliConsole console)
    {
        var files = new Argument<string[]>("FILE") { Description = "files of metrics, such as runs/sprites/dit/metrics.jsonl", Arity = ArgumentArity.OneOrMore };
        var x = CliOptions.Text("--x", "KEY", "what goes to the right [default: step]");
        var y = CliOptions.Text("--y", "KEY,KEY", "what goes up [default: all that begin with loss or held_out_loss]");
        var labels = CliOptions.Text("--label", "NAME,NAME", "names of the files [default: those of their folders]");
        var log = CliOptions.Choice("--log", "logarithmic axes", "x", "y", "xy");
        var smooth = CliOptions.Whole("--smooth", "N", "lines that become one, their mean; not of held-out losses [default: 1]", 1);
        var title = CliOptions.Text("--title", "TEXT", "what stands above");
        var output = CliOptions.Text("--output", "FILE", "picture to write [default: curves.svg]", "-o");
        var command = new ExampledCommand("plot", "Draws curves of what runs measured.",
            $"{About.Name} train plot runs/sprites/dit/metrics.jsonl --smooth 10 --log y -o curves.svg",
            $"{About.Name} train plot runs/a/dit/evaluation.jsonl runs/b/dit/evaluation.jsonl --x flops --y mean --log x")
        {
            files, x, y, labels, log, smooth, title, output,
        };
        command.SetAction((parsed, _) => Task.FromResult(
            new MetricsPlot(parsed.GetValue(x) ?? "step", List(parsed.GetValue(y)), List(parsed.GetValue(labels)), parsed.GetValue(log),
                parsed.GetValue(smooth) ?? 1, parsed.GetValue(title) ?? "")
            .Run(parsed.GetRequiredValue(files), parsed.GetValue(output) ?? "curves.svg", console)));
        return command;

        static string[]? List(string? text) => text?.Split(',', StringSplitOptions.TrimEntries);
    }
}

/// <summary>One run of <c>train</c>: the only place that calls the trainers.</summary>
internal static class TrainRun
{
    /// <summary>A resumable training run.</summary>
    public delegate TrainingEnd Entry(TrainingConfigSource config, string folder, IProgress<TrainingProgress>? progress, ProcessGroup? group, CancellationToken cancellationToken);

    public static TrainingEnd Vae(TrainingConfigSource config, string folder, IProgress<TrainingProgress>? progress, ProcessGroup? group, CancellationToken cancellationToken)
    {
        if (TrainingConfigFile.HasDataSection(config))
            return new TrainingEnd("vae", folder, VaeTraining.Run(config, folder, progress, cancellationToken, group));
        SpriteTraining.RunVae(config, folder, progress, cancellationToken, group);
        return new TrainingEnd("vae", folder);
    }

    public static TrainingEnd Dit(TrainingConfigSource config, string folder, IProgress<TrainingProgress>? progress, ProcessGroup? group, CancellationToken cancellationToken)
    {
        if (TrainingConfigFile.HasDataSection(config))
            return new TrainingEnd("dit", folder, DitTraining.Run(config, folder, progress, cancellationToken, group));
        SpriteTraining.RunDit(config, folder, progress, cancellationToken, group);
        return new TrainingEnd("dit", folder);
    }

    public static TrainingEnd Lora(TrainingConfigSource config, string folder, IProgress<TrainingProgress>? progress, ProcessGroup? group, CancellationToken cancellationToken)
    {
        if (TrainingConfigFile.HasDataSection(config))
            return new TrainingEnd("lora", Path.Combine(folder, LoraFile.Name), DitTraining.RunLora(config, folder, progress, cancellationToken, group));
        return new TrainingEnd("lora", SpriteTraining.RunLora(config, folder, progress, cancellationToken, group));
    }

    public static TrainingEnd Distill(TrainingConfigSource config, string folder, IProgress<TrainingProgress>? progress, ProcessGroup? group, CancellationToken cancellationToken)
    {
        if (TrainingConfigFile.HasDataSection(config))
            return new TrainingEnd("dit", folder, DitTraining.RunDistill(config, folder, progress, cancellationToken, group));
        SpriteTraining.RunDistill(config, folder, progress, cancellationToken, group);
        return new TrainingEnd("dit", folder);
    }

    /// <summary>
    /// Threads of an operator: those of the configuration, or all that the machine has for each of its processes. In the sprites world every worker is a thread, and operators of several would
    /// only add synchronisation.
    /// </summary>
    public static int ThreadsOf(TrainingConfigSource config, ProcessGroup? group) =>
        TrainingConfigFile.ThreadsOf(config) ?? (TrainingConfigFile.HasDataSection(config) ? Math.Max(1, Environment.ProcessorCount / (group?.LocalSize ?? 1)) : 1);

    public static async Task<int> RunAsync(Entry entry, TrainingConfigSource config, string folder, int? threads, CliConsole console, CancellationToken cancellationToken)
    {
        if (!File.Exists(config.Path))
            throw CommandFault.ConfigurationMissing(config.Path);
        if (File.Exists(folder))
            throw CommandFault.RunFolderIsFile(folder);
        using var line = new ProgressLine(console);
        using var group = await LaunchedProcess.JoinAsync(line, TrainingConfigFile.DeviceOf(config), cancellationToken).ConfigureAwait(false);
        var isFirst = group is not { Rank: > 0 };
        var end = await Task.Run(
            () =>
            {
                TorchRuntime.Threads = threads ?? ThreadsOf(config, group);
                try
                {
                    group?.Agree(TrainingConfigFile.Facts(config), cancellationToken);
                    return entry(config, folder, isFirst ? new TrainingMonitor(line, console) : null, group, cancellationToken);
                }
                catch (Exception e) when (group?.Record(e) ?? false)
                {
                    throw;
                }
            },
            CancellationToken.None).ConfigureAwait(false);
        line.Clear();
        if (!isFirst)
            return ExitCode.Ok;
        foreach (var remark in end.Remarks)
            console.Note(remark);
        if (cancellationToken.IsCancellationRequested)
        {
            console.Note("stopped and saved: the same command goes on from here");
            return ExitCode.Cancelled;
        }

        console.Result(end.Result);
        foreach (var sentence in VideoOfRun.After(end.Part, folder))
            console.Note(sentence);
        return end.Remarks.Count > 0 ? ExitCode.LeftOut : ExitCode.Ok;
    }
}

/// <summary>The result of a training run.</summary>
/// <param name="Part">Kind of the run: <c>dit</c>, <c>vae</c> or <c>lora</c>.</param>
/// <param name="Result">The file or folder that was made.</param>
/// <param name="Notes">Sentences about items that were left out, or null.</param>
internal sealed record TrainingEnd(string Part, string Result, IReadOnlyList<string>? Notes = null)
{
    /// <summary>Sentences about items that were left out.</summary>
    public IReadOnlyList<string> Remarks => Notes ?? [];
}

/// <summary>Shows the progress of a training run.</summary>
internal sealed class TrainingMonitor(ProgressLine line, CliConsole console) : IProgress<TrainingProgress>
{
    /// <inheritdoc/>
    public void Report(TrainingProgress value)
    {
        if (value is { IsLasting: true, Note: { } lasting })
        {
            line.Clear();
            console.Note(lasting);
            return;
        }

        var fraction = value.Steps > 0 ? (double)value.Step / value.Steps : 0;
        if (value.SecondsPerStep > 0)
        {
            line.Update("training", FormattableString.Invariant(
                $"step {value.Step}/{value.Steps}, loss {value.Loss:F4}{Note(value)}, {value.SecondsPerStep:F2} s a step"), fraction, value.TimeLeft);
        }
        else
        {
            line.Update(value.Note ?? "preparing", $"{value.Step}/{value.Steps}", fraction);
        }
    }

    private static string Note(TrainingProgress value) => value.Note is { } note ? $" ({note})" : "";
}

/// <summary>One run of <c>train plot</c>: curves of numbers that runs wrote as JSON lines.</summary>
/// <param name="X">Key of the horizontal axis.</param>
/// <param name="Y">Keys of the vertical axis; null takes all that begin with loss or held_out_loss.</param>
/// <param name="Labels">Labels of the files; null takes the names of their folders.</param>
/// <param name="Log">Which axes are logarithmic: <c>x</c>, <c>y</c> or <c>xy</c>; null is none.</param>
/// <param name="Smooth">Number of neighbouring lines that are averaged into one; losses of held-out items, always measured with the same draws, stay as they are.</param>
/// <param name="Title">Title above the plot; may be empty.</param>
internal sealed record MetricsPlot(string X, IReadOnlyList<string>? Y, IReadOnlyList<string>? Labels, string? Log, int Smooth, string Title)
{
    private const string Loss = "loss";

    /// <summary>Reads, draws and writes.</summary>
    /// <param name="files">Files of metrics.</param>
    /// <param name="output">SVG file to write.</param>
    /// <param name="console">Receives the name of the file.</param>
    public int Run(IReadOnlyList<string> files, string output, CliConsole console)
    {
        OutputFile.Check(output, ".svg");
        if (Labels is { } labels && labels.Count != files.Count)
            throw CommandFault.LabelCount(labels.Count, files.Count);
        Curve[] curves = [.. files.SelectMany((file, i) => Curves(file, Labels?[i] ?? NameOf(file), files.Count > 1))];
        var (logX, logY) = (IsLogarithmic('x'), IsLogarithmic('y'));
        if (curves.SelectMany(curve => curve.Points).Any(p => (logX && p.X <= 0) || (logY && p.Y <= 0)))
            throw CommandFault.LogOfZero();
        var up = Y is [var only] ? only : Y is null ? Loss : "";
        File.WriteAllText(output, new LinePlot(Title, X, up, logX, logY).Draw(curves));
        console.Result(output);
        return ExitCode.Ok;
    }

    private bool IsLogarithmic(char axis) => Log?.Contains(axis, StringComparison.Ordinal) ?? false;

    private static bool IsHeldOut(string key) => key.StartsWith(HeldOutLoss.Name, StringComparison.Ordinal);

    private IEnumerable<Curve> Curves(string file, string label, bool several)
    {
        var lines = MetricsFile.Read(file);
        var keys = Y ?? [.. lines.SelectMany(line => line.Keys).Distinct().Where(key => key.StartsWith(Loss, StringComparison.Ordinal) || IsHeldOut(key)).Order(StringComparer.Ordinal)];
        foreach (var key in keys)
        {
            // The held-out loss of what a run begins with is that of step 0, for which a logarithmic axis has no place.
            var points = lines.Where(line => line.ContainsKey(X) && line.ContainsKey(key) && !(IsHeldOut(key) && IsLogarithmic('x') && line[X] == 0)).Select(line => (line[X], line[key])).ToList();
            if (points.Count == 0)
                throw CommandFault.NoPoints(file, X, key, lines.SelectMany(line => line.Keys).Distinct());
            yield return new Curve(!several ? key : keys.Count == 1 ? label : $"{label} {key}", points).Smoothed(IsHeldOut(key) ? 1 : Smooth);
        }

        if (keys.Count == 0)
            throw CommandFault.NothingToPlot(file, Loss);
    }

    // runs/a/dit/metrics.jsonl is called a.
    private static string NameOf(string file)
    {
        var parts = Path.GetFullPath(file).Split(Path.DirectorySeparatorChar);
        return parts is [.., var run, "dit" or "vae", _] ? run : parts is [.., var folder, _] ? folder : file;
    }
}
