using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Media;
using PyramidFlow.Sprites;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Evaluating;

/// <summary>One run of <c>eval sprites</c>.</summary>
internal sealed class SpriteEvaluation(CliConsole console)
{
    private const int ClipsOnSheet = 12, ReconstructedClips = 16, ReconstructedFrames = 33;

    /// <summary>What can be evaluated; the first is the default.</summary>
    internal static IReadOnlyList<string> Modes { get; } = ["video", "extension", "schedule"];

    /// <summary>Generates, judges and prints.</summary>
    /// <param name="mode">One of <see cref="Modes"/>.</param>
    /// <param name="count">Clips.</param>
    /// <param name="scenes">Which scenes and noise.</param>
    /// <param name="sampling">Steps and approximations of every clip.</param>
    /// <param name="model">The model.</param>
    /// <param name="json">Whether to print one JSON object.</param>
    /// <param name="sheet">File for a picture of the first clips; null is none.</param>
    /// <param name="cancel">Stops within a step.</param>
    public async Task<int> RunAsync(string mode, int count, SpriteScenes scenes, ClipArguments sampling, ModelArguments model, bool json, string? sheet, CancellationToken cancel)
    {
        if (sheet is not null)
            OutputFile.Check(sheet, ".png");
        var folder = model.Open();
        var settings = folder.Settings(model.Variant);
        if (mode == Modes[0] && settings.Frames < 5)
            throw new UsageException($"{folder.Root} makes clips of {settings.Frames} frames, too few to judge motion: set frames in {PipelineSettings.FileName} to 9 or more");
        ISpriteTrial trial = mode switch
        {
            "extension" => new ExtensionTrial(scenes),
            "schedule" => new ScheduleTrial(scenes, settings),
            _ => new VideoTrial(scenes, settings),
        };
        using var line = new ProgressLine(console);
        List<byte[]> shown;
        var size = GenerationPlan.Resolve(Change(trial.Request(0)), settings);
        using (var pipeline = VideoPipeline.Load(folder.Root, model.Options(), null))
            shown = await new TrialRun(line) { Change = Change }.RunAsync(pipeline, trial, count, ClipsOnSheet, cancel).ConfigureAwait(false);

        double? psnr = mode == Modes[0] ? Reconstruction(folder, Math.Min(count, ReconstructedClips), Math.Min(ReconstructedFrames, settings.Frames), line, cancel) : null;
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

    private static double Reconstruction(CheckpointFolder folder, int clips, int frames, ProgressLine line, CancellationToken cancel)
    {
        using var vae = CausalVideoVae.Load(folder.Vae, ElementType.Float32);
        return SpriteVaeTrainer.Evaluate(vae, frames, clips, Begin, cancel);

        void Begin(int clip) =>
            line.Update("reconstructing", $"clip {clip + 1}/{clips}", (double)clip / clips, TimeSpan.Zero);
    }
}
