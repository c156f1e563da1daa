using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Vae;

/// <summary><c>train vae</c> with videos and images of one's own.</summary>
public static class VaeRun
{
    /// <summary>
    /// Trains, or goes on with the run in the folder. The weights lie in <c>causal_video_vae</c> of the folder, in the
    /// released layout, from the first checkpoint on.
    /// </summary>
    /// <param name="configPath">A <see cref="VaeRunConfig"/>.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Told now and then, and about every item that cannot be used; or null.</param>
    /// <param name="cancel">Stops after the running step, with a checkpoint.</param>
    /// <param name="group">The processes that train together, or null for one.</param>
    /// <returns>What there is to say about items that could not be used; empty when all was well.</returns>
    /// <exception cref="ArgumentException">The configuration is wrong.</exception>
    /// <exception cref="CheckpointException">Weights are missing, damaged or of another network.</exception>
    /// <exception cref="DataException">The data cannot be used.</exception>
    /// <exception cref="TrainingException">The training failed.</exception>
    public static IReadOnlyList<string> Run(string configPath, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel, ProcessGroup? group = null)
    {
        var config = VaeRunConfig.Load(configPath).Find(configPath);
        var device = TrainingDevice.Of(config.Device, group);
        var sizes = VaeStart.Config(config);
        using var discriminator = VaeStart.Discriminator(config, device);
        using var lpips = config.PerceptualWeight > 0 ? Lpips.Open(config.Lpips!) : null;
        using var loss = VaeStart.Loss(config, lpips, discriminator, device);
        using var vae = VaeStart.Vae(config, sizes, device);

        var faults = new FaultLog(fault => progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, fault.ToString())));
        using var clips = VaeClips.OpenAsync(config, sizes, discriminator, device, faults,
            new Looking(progress), group, cancel).GetAwaiter().GetResult();
        var run = new RunFolder(folder);
        using var training = new VaeTraining(config, run, vae, loss, discriminator, clips.Batch, clips.HeldOut);
        var loop = new TrainingLoop(config, training, run, group);
        if (group is not { Rank: > 0 })
            ConfigPaths.Copy(configPath, run.File("config.json"), "start_from", "lpips", "data.annotations");
        loop.Run(progress, cancel);
        return faults.Summary();
    }

    private sealed class Looking(IProgress<TrainingProgress>? progress) : IProgress<int>
    {
        // Of many thousand items nobody reads every number.
        private const int Every = 100;

        public void Report(int value)
        {
            if (value % Every == 0)
                progress?.Report(new TrainingProgress(value, 0, 0, 0, "items looked at"));
        }
    }
}
