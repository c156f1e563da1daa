using System.CommandLine;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Sprites;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;
using Spectre.Console;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>eval sprites</c>: how often a model makes what the prompt says.</summary>
internal static class EvalCommand
{
    private const int DefaultCount = 200, CheckpointCount = 50;

    public static Command Create(CliConsole console) => new ExampledCommand("eval", "Measures how good a model is.",
        $"{About.Name} eval sprites --count 200 --seed 0",
        $"{About.Name} eval checkpoints --out runs/sprites --count 50") { Sprites(console), Checkpoints(console) };

    private static ExampledCommand Sprites(CliConsole console)
    {
        var count = CliOptions.Whole("--count", "N", $"clips to generate and judge [default: {DefaultCount}]", 1);
        var seed = CliOptions.Seed("--seed", "which prompts and noise [default: 0]");
        var mode = CliOptions.Choice("--mode", "what to evaluate: videos from prompts, the continuation of given frames, a change of prompt, or single units of long videos [default: video]", [.. SpriteEvaluation.Modes]);
        var colour = CliOptions.Choice("--colour", "ask for sprites of this colour only [default: all eight; pink is one that training does not show]",
            [.. Enum.GetNames<SpriteColour>().Select(name => name.ToLowerInvariant())]);
        var json = CliOptions.Flag("--json", "print one JSON object instead of a table");
        var sheet = CliOptions.Text("--sheet", "FILE", "also write a picture of the first 12 clips (.png)");
        var settings = new SettingOptions(extends: false, "steps", "video_steps", "reuse_prefix", "guidance_every", "solver");
        var model = new ModelOptions();
        var command = new ExampledCommand("sprites",
            "Generates clips of unseen prompts, measures what they show, and prints the share that is right.",
            $"{About.Name} eval sprites --count 200 --seed 0",
            $"{About.Name} eval sprites --mode schedule --count 50",
            $"{About.Name} eval sprites --count 12 --sheet sheet.png --json",
            $"{About.Name} eval sprites --count 60 --solver second-order --steps 5,5,5 --video-steps 3,3,3",
            $"{About.Name} eval sprites --lora pink.safetensors --colour pink --count 100") { mode, count, seed, colour, json, sheet };
        settings.AddSamplingTo(command);
        model.AddTo(command);
        command.SetAction((parsed, cancellationToken) => new SpriteEvaluation(console).RunAsync(parsed.GetValue(mode) ?? SpriteEvaluation.Modes[0], parsed.GetValue(count) ?? DefaultCount,
            new SpriteScenes((long)(parsed.GetValue(seed) ?? 0), parsed.GetValue(colour) is { } name ? Enum.Parse<SpriteColour>(name, ignoreCase: true) : null),
            settings.Read(parsed, new ClipArguments()), model.Read(parsed), parsed.GetValue(json), parsed.GetValue(sheet), cancellationToken));
        return command;
    }

    private static ExampledCommand Checkpoints(CliConsole console)
    {
        var output = CliOptions.Text("--out", "DIR", "folder of all runs of the model");
        var count = CliOptions.Whole("--count", "N", $"clips to generate and judge for each [default: {CheckpointCount}]", 1);
        var seed = CliOptions.Seed("--seed", "which prompts and noise [default: 0]");
        var steps = CliOptions.Steps("--steps", "only those of these steps [default: all]");
        var threads = CliOptions.Whole("--threads", "N", "CPU threads [default: all]", 1);
        output.Required = true;
        var command = new ExampledCommand("checkpoints",
            "Judges the weights a training of the transformer kept on its way, against what they cost.",
            $"{About.Name} eval checkpoints --out runs/sprites --count 50") { output, steps, count, seed, threads };
        command.SetAction((parsed, cancellationToken) => new CheckpointEvaluation(console).RunAsync(parsed.GetRequiredValue(output)!,
            parsed.GetValue(steps), parsed.GetValue(count) ?? CheckpointCount, (long)(parsed.GetValue(seed) ?? 0), parsed.GetValue(threads), cancellationToken));
        return command;
    }
}

/// <summary>One run of <c>eval sprites</c>.</summary>
internal sealed class SpriteEvaluation(CliConsole console)
{
    private const int ClipsOnSheet = 12, ReconstructedClips = 16, ReconstructedFrames = 33;

    /// <summary>Modes of the evaluation; the first is the default.</summary>
    internal static IReadOnlyList<string> Modes { get; } = ["video", "extension", "schedule", "long"];

    /// <summary>Generates, judges and prints.</summary>
    /// <param name="mode">One of <see cref="Modes"/>.</param>
    /// <param name="count">Clips.</param>
    /// <param name="scenes">Which scenes and noise.</param>
    /// <param name="sampling">Steps and approximations of every clip.</param>
    /// <param name="model">The model.</param>
    /// <param name="json">Whether to print one JSON object.</param>
    /// <param name="sheet">File for a picture of the first clips; null is none.</param>
    /// <param name="cancellationToken">Stops within a step.</param>
    public async Task<int> RunAsync(string mode, int count, SpriteScenes scenes, ClipArguments sampling, ModelArguments model, bool json, string? sheet, CancellationToken cancellationToken)
    {
        if (sheet is not null)
            OutputFile.Check(sheet, ".png");
        var folder = model.Open();
        var settings = folder.Settings(model.Variant);
        if (mode == Modes[0] && settings.Frames < 5)
            throw CommandFault.TooFewFrames(folder.Root, settings.Frames, PipelineSettings.FileName);
        ISpriteTrial trial = mode switch
        {
            "extension" => new ExtensionTrial(scenes),
            "schedule" => new ScheduleTrial(scenes, settings),
            "long" => new LongTrial(scenes, settings),
            _ => new VideoTrial(scenes, settings),
        };
        using var line = new ProgressLine(console);
        List<byte[]> shown;
        var size = Change(trial.Request(0)).Resolve(settings);
        using (var pipeline = VideoPipeline.Load(folder.Root, model.Options(), null))
            shown = await new TrialRun(line) { Change = Change }.RunAsync(pipeline, trial, count, ClipsOnSheet, cancellationToken).ConfigureAwait(false);

        double? psnr = mode == Modes[0] ? Reconstruction(folder, Math.Min(count, ReconstructedClips), Math.Min(ReconstructedFrames, settings.Frames), line, cancellationToken) : null;
        line.Clear();
        if (sheet is not null)
        {
            var picture = ContactSheet.Compose(shown, size.Width, size.Height);
            PngWriter.Write(sheet, new RgbImage(picture.Width, picture.Height, picture.Pixels));
            console.Note($"the first {shown.Count} clips are in {sheet}");
        }

        EvaluationReport.Print(count, trial, psnr, json, console);
        return ExitCode.Ok;

        GenerationOptions Change(GenerationOptions request) =>
            SettingsTable.Over(request, sampling);
    }

    private static double Reconstruction(CheckpointFolder folder, int clips, int frames, ProgressLine line, CancellationToken cancellationToken)
    {
        using var vae = CausalVideoVae.Load(folder.Vae, ElementType.Float32);
        return SpriteVaeTrainer.Evaluate(vae, frames, clips, Begin, cancellationToken);

        void Begin(int clip) =>
            line.Update("reconstructing", $"clip {clip + 1}/{clips}", (double)clip / clips, TimeSpan.Zero);
    }
}

/// <summary>Generates the clips of a trial and has them judged.</summary>
/// <param name="line">Shows the progress.</param>
/// <param name="what">Name of the work in the progress line.</param>
internal sealed class TrialRun(ProgressLine line, string what = "generating")
{
    /// <summary>Changes the request of every clip, for example its steps.</summary>
    public Func<GenerationOptions, GenerationOptions>? Change { get; init; }

    /// <summary>Runs it.</summary>
    /// <param name="pipeline">The model.</param>
    /// <param name="trial">What to ask for.</param>
    /// <param name="count">Clips.</param>
    /// <param name="kept">How many of the first clips to return.</param>
    /// <param name="cancellationToken">Stops within a step.</param>
    public async Task<List<byte[]>> RunAsync(VideoPipeline pipeline, ISpriteTrial trial, int count, int kept, CancellationToken cancellationToken)
    {
        var shown = new List<byte[]>();
        for (var i = 0; i < count; i++)
        {
            using var frames = new MemoryStream();
            await foreach (var chunk in pipeline.GenerateAsync(Request(i), new ClipShare(line, what, i, count), cancellationToken).ConfigureAwait(false))
                frames.Write(chunk.Rgb.Span);
            var clip = frames.ToArray();
            trial.Judge(i, clip);
            if (i < kept)
                shown.Add(clip);
        }

        return shown;

        GenerationOptions Request(int index) => Change is null ? trial.Request(index) : Change(trial.Request(index));
    }

    // Maps the progress of one clip to its share of all clips.
    private sealed class ClipShare(ProgressLine line, string what, int index, int count) : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value) =>
            line.Update(what, $"clip {index + 1}/{count}", (index + value.Fraction) / count);
    }
}

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

    private static string Json(int count, ISpriteTrial trial, double? psnr) => ReadableJson.Write(json =>
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
