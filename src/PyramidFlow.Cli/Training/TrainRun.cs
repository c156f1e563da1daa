using PyramidFlow.Cli.Output;
using PyramidFlow.Models.Lora;
using PyramidFlow.Sprites;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Cli.Training;

/// <summary>One run of <c>train</c>: the only place that calls the trainers.</summary>
internal static class TrainRun
{
    /// <summary>A training that can be stopped and taken up again.</summary>
    public delegate TrainingEnd Entry(string config, string folder, IProgress<TrainingProgress>? progress, ProcessGroup? group, CancellationToken cancel);

    public static TrainingEnd Vae(string config, string folder, IProgress<TrainingProgress>? progress, ProcessGroup? group, CancellationToken cancel)
    {
        if (TrainingConfigFile.HasDataSection(config))
            return new TrainingEnd(folder, VaeTraining.Run(config, folder, progress, cancel, group));
        SpriteTraining.RunVae(config, folder, progress, cancel, group);
        return new TrainingEnd(folder);
    }

    public static TrainingEnd Dit(string config, string folder, IProgress<TrainingProgress>? progress, ProcessGroup? group, CancellationToken cancel)
    {
        if (TrainingConfigFile.HasDataSection(config))
            return new TrainingEnd(folder, DitTraining.Run(config, folder, progress, cancel, group));
        SpriteTraining.RunDit(config, folder, progress, cancel, group);
        return new TrainingEnd(folder);
    }

    public static TrainingEnd Lora(string config, string folder, IProgress<TrainingProgress>? progress, ProcessGroup? group, CancellationToken cancel)
    {
        if (TrainingConfigFile.HasDataSection(config))
            return new TrainingEnd(Path.Combine(folder, LoraFile.Name), DitTraining.RunLora(config, folder, progress, cancel, group));
        return new TrainingEnd(SpriteTraining.RunLora(config, folder, progress, cancel, group));
    }

    public static async Task<int> ShipAsync(string folder, string model, CliConsole console)
    {
        await Task.Run(() => SpriteTraining.Ship(folder, model)).ConfigureAwait(false);
        console.Result(model);
        return ExitCode.Ok;
    }

    public static async Task<int> RunAsync(Entry entry, string config, string folder, int? threads, CliConsole console, CancellationToken cancel)
    {
        if (!File.Exists(config))
            throw new UsageException($"{config} does not exist: the configurations that come with the program are in configs/");
        if (File.Exists(folder))
            throw new UsageException($"{folder} is a file: --out takes a folder");
        using var line = new ProgressLine(console);
        using var group = Rendezvous.FromEnvironment(Environment.GetEnvironmentVariable) is { } rendezvous ? ProcessGroup.Join(rendezvous, cancellationToken: cancel) : null;
        var isFirst = group is not { Rank: > 0 };
        var end = await Task.Run(
            () =>
            {
                TorchRuntime.Threads = threads ?? Environment.ProcessorCount;
                return entry(config, folder, isFirst ? new TrainingMonitor(line) : null, group, cancel);
            },
            CancellationToken.None).ConfigureAwait(false);
        line.Clear();
        if (!isFirst)
            return ExitCode.Ok;
        foreach (var remark in end.Remarks)
            console.Note(remark);
        if (cancel.IsCancellationRequested)
        {
            console.Note("stopped and saved: the same command goes on from here");
            return ExitCode.Cancelled;
        }

        console.Result(end.Result);
        return ExitCode.Ok;
    }
}

/// <summary>What came of a training.</summary>
/// <param name="Result">The file or folder that was made.</param>
/// <param name="Notes">What is to be said at its end, or null.</param>
internal sealed record TrainingEnd(string Result, IReadOnlyList<string>? Notes = null)
{
    /// <summary>What is to be said at its end.</summary>
    public IReadOnlyList<string> Remarks => Notes ?? [];
}
