using PyramidFlow.Cli.Output;
using PyramidFlow.Torch;
using PyramidFlow.Training;
using PyramidFlow.Training.Runs;

namespace PyramidFlow.Cli.Training;

/// <summary>One run of <c>train</c>: the only place that calls the trainers.</summary>
internal static class TrainRun
{
    /// <summary>A training that can be stopped and taken up again; gives what came of it, a file or a folder.</summary>
    public delegate string Entry(string config, string folder, IProgress<TrainingProgress> progress, CancellationToken cancel);

    public static string Vae(string config, string folder, IProgress<TrainingProgress> progress, CancellationToken cancel)
    {
        SpriteTraining.RunVae(config, folder, progress, cancel);
        return folder;
    }

    public static string Dit(string config, string folder, IProgress<TrainingProgress> progress, CancellationToken cancel)
    {
        SpriteTraining.RunDit(config, folder, progress, cancel);
        return folder;
    }

    public static string Lora(string config, string folder, IProgress<TrainingProgress> progress, CancellationToken cancel) =>
        SpriteTraining.RunLora(config, folder, progress, cancel);

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
        if (threads is { } count)
            TorchRuntime.Threads = count;
        using var line = new ProgressLine(console);
        var result = await Task.Run(() => entry(config, folder, new TrainingMonitor(line), cancel), CancellationToken.None).ConfigureAwait(false);
        line.Clear();
        if (cancel.IsCancellationRequested)
        {
            console.Note("stopped and saved: the same command goes on from here");
            return ExitCode.Cancelled;
        }

        console.Result(result);
        return ExitCode.Ok;
    }
}
