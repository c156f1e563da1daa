using PyramidFlow.Models.Lora;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Models;

namespace PyramidFlow.Training.Dit;

/// <summary>Training of a diffusion transformer on data of one's own, from a configuration to a component folder.</summary>
public static class DitDataTraining
{
    // Three stages of 2x2 patches over latents an eighth of the picture's size.
    private const int Multiple = 64;

    /// <summary>
    /// Trains; the run lies in the folder, and in it <c>diffusion_transformer</c>, which takes the place of the model folder's.
    /// </summary>
    /// <param name="configPath">A <see cref="DitDataConfig"/> without <c>lora</c>.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Told every few steps, and of every item that cannot be used; or null.</param>
    /// <param name="cancel">Stops after the running step, with a checkpoint.</param>
    /// <param name="group">The processes that train together, or null for one.</param>
    /// <returns>What there is to say about items that could not be used; empty when all was well.</returns>
    /// <exception cref="ArgumentException">The configuration is impossible.</exception>
    /// <exception cref="DataException">The data cannot be used.</exception>
    public static IReadOnlyList<string> Run(string configPath, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel, ProcessGroup? group = null)
    {
        var config = DitDataConfig.Load(configPath);
        if (config.Lora is not null)
            throw new ArgumentException($"{configPath} describes a LoRA: train it with 'train lora', or take the key lora out");
        return Run(config.Find(configPath), configPath, folder, progress, cancel, group);
    }

    /// <summary>Trains a LoRA of the model folder's transformer; the run and <see cref="LoraFile.Name"/> lie in the folder.</summary>
    /// <param name="configPath">A <see cref="DitDataConfig"/>; without <c>lora</c> it is one with the defaults of <see cref="LoraConfig"/>.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Told every few steps, and of every item that cannot be used; or null.</param>
    /// <param name="cancel">Stops after the running step, with a checkpoint.</param>
    /// <param name="group">The processes that train together, or null for one.</param>
    /// <returns>What there is to say about items that could not be used; empty when all was well.</returns>
    /// <exception cref="DataException">The data cannot be used.</exception>
    /// <exception cref="ArgumentException">The configuration is impossible, or a target names no layer of the transformer.</exception>
    public static IReadOnlyList<string> RunLora(string configPath, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel, ProcessGroup? group = null)
    {
        var config = DitDataConfig.Load(configPath);
        if (config.FromScratch)
            throw new ArgumentException($"{configPath}: a LoRA adds to the weights of the model's folder: leave from_scratch out");
        config.Find(configPath);
        config.Lora ??= new LoraConfig();
        TrainedTransformer.Check(TransformerConfigs.Load(CheckpointFolder.Open(config.Model).Transformer(config.Variant).ConfigFile), config.Lora);
        return Run(config, configPath, folder, progress, cancel, group);
    }

    private static IReadOnlyList<string> Run(DitDataConfig config, string configPath, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancel, ProcessGroup? group)
    {
        var start = CheckpointFolder.Open(config.Model);
        var faults = new FaultLog(fault => progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, fault.ToString())));
        using var models = new DitDataModels(config, start, TrainingDevice.Of(config.Device, group));
        using var items = DitItems.Open(config, PlanOf(config, group), models.Channels, faults, cancel);
        foreach (var (bucket, _) in items.Plan.Counts)
        {
            if (bucket.Width % Multiple != 0 || bucket.Height % Multiple != 0)
                throw new ArgumentException($"{configPath}: items of {bucket} cannot be halved for every stage: use sizes of multiples of {Multiple}");
        }

        using var trainer = new DitDataTrainer(config, new RunFolder(folder), start, items, models, group);
        trainer.Run(progress, cancel);
        return faults.Summary();
    }

    // Processes that share their clips are one to the plan, and each draws noise of its own for them.
    private static BatchPlanOptions PlanOf(DitDataConfig config, ProcessGroup? group)
    {
        var (rank, ranks) = (group?.Rank ?? 0, group?.WorldSize ?? 1);
        var sharing = config.Objective == TemporalObjective.Autoregressive ? Math.Min(config.VideoSyncGroup, ranks) : 1;
        if (ranks % sharing != 0)
            throw new ArgumentException($"{ranks} processes cannot be grouped by video_sync_group {sharing}: use a divisor of {ranks}");
        return new BatchPlanOptions(config.Seed, config.Batch, rank / sharing, ranks / sharing, config.Data.ImageShare);
    }
}
