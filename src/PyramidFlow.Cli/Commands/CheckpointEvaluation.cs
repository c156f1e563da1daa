using System.Globalization;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Sprites;
using PyramidFlow.Training.Loop;
using Spectre.Console;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Commands;

/// <summary>
/// One run of <c>eval checkpoints</c>: judges what a training run kept on its way, all with the same prompts and noise, and adds
/// a line for each to <c>evaluation.jsonl</c> beside its metrics. Checkpoints that have one are not judged again.
/// </summary>
internal sealed class CheckpointEvaluation(CliConsole console)
{
    /// <summary>The file of results, in the folder of the transformer's run.</summary>
    public const string FileName = "evaluation.jsonl";

    /// <summary>Generates, judges and prints.</summary>
    /// <param name="folder">Folder of all runs of a model.</param>
    /// <param name="steps">Only those of these steps; null is all.</param>
    /// <param name="count">Clips of each checkpoint.</param>
    /// <param name="seed">Which prompts and noise.</param>
    /// <param name="threads">CPU threads; null leaves the setting as it is.</param>
    /// <param name="cancellationToken">Stops within a step.</param>
    public async Task<int> RunAsync(string folder, IReadOnlyList<int>? steps, int count, long seed, int? threads, CancellationToken cancellationToken)
    {
        var run = Path.Combine(folder, "dit");
        var kept = KeptWeights.Find(run);
        if (kept.Count == 0)
            throw CommandFault.NoKeptWeights(run);
        var missing = steps?.Where(step => kept.All(weights => weights.Step != step)).ToArray() ?? [];
        if (missing.Length > 0)
            throw CommandFault.StepNotKept(run, missing, kept.Select(weights => weights.Step));
        var results = Path.Combine(run, FileName);
        var done = File.Exists(results) ? MetricsFile.Read(results).Select(line => (long)line["step"]).ToHashSet() : [];
        using (var line = new ProgressLine(console))
        {
            foreach (var weights in kept.Where(weights => !done.Contains(weights.Step) && steps?.Contains((int)weights.Step) != false))
            {
                var trial = await JudgeAsync(folder, weights, count, seed, threads, line, cancellationToken).ConfigureAwait(false);
                await File.AppendAllTextAsync(results, Json(weights, count, seed, trial) + "\n", cancellationToken).ConfigureAwait(false);
            }
        }

        Print(results);
        return ExitCode.Ok;
    }

    private static async Task<VideoTrial> JudgeAsync(string folder, KeptWeights weights, int count, long seed, int? threads, ProgressLine line, CancellationToken cancellationToken)
    {
        var model = Directory.CreateTempSubdirectory("pyramidflow-");
        try
        {
            SpriteTraining.Export(folder, model.FullName, weights.File);
            var trial = new VideoTrial(new SpriteScenes(seed), CheckpointFolder.Open(model.FullName).Settings(null));
            using var pipeline = VideoPipeline.Load(model.FullName, new PipelineOptions { Threads = threads });
            await new TrialRun(line, $"step {weights.Step}").RunAsync(pipeline, trial, count, 0, cancellationToken).ConfigureAwait(false);
            return trial;
        }
        finally
        {
            model.Delete(recursive: true);
        }
    }

    private static string Json(KeptWeights weights, int count, long seed, VideoTrial trial) => ReadableJson.Write(json =>
    {
        json.WriteStartObject();
        json.WriteNumber("step", weights.Step);
        json.WriteNumber("flops", weights.Flops);
        json.WriteNumber("count", count);
        json.WriteNumber("seed", seed);
        foreach (var (name, share) in trial.Shares)
            json.WriteNumber(name, share);
        json.WriteNumber("mean", trial.Mean);
        json.WriteEndObject();
    });

    private void Print(string results)
    {
        var table = new Table().AddColumn("step").AddColumn("training TFLOP").AddColumn("attributes right").AddColumn("all right together");
        foreach (var line in MetricsFile.Read(results))
        {
            table.AddRow(Text(line["step"], "F0"), Text(line.GetValueOrDefault("flops", double.NaN) / 1e12, "F2"), Text(100 * line.GetValueOrDefault("mean", double.NaN), "F1") + "%",
                Text(100 * line.GetValueOrDefault("all", double.NaN), "F1") + "%");
        }

        console.Result(table);
        console.Note($"these are in {results}");
    }

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
