using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Dit;

/// <summary>Trains a diffusion transformer, or a LoRA of one, as a configuration says.</summary>
public static class DitTraining
{
    // Three stages of 2x2 patches over latents at an eighth of the picture size.
    private const int Multiple = 64;

    /// <summary>Trains a transformer. The run folder receives <c>diffusion_transformer</c>, which can replace that of the model folder.</summary>
    /// <param name="source">A <see cref="DitConfig"/> without <c>lora</c>.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Reports progress every few steps and every unusable item; null reports nothing.</param>
    /// <param name="cancellationToken">Stops the run after the current step and saves a checkpoint.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <returns>Messages about unusable items; empty if there are none.</returns>
    /// <exception cref="TrainingException">The configuration is invalid, or the data cannot be used.</exception>
    public static IReadOnlyList<string> Run(TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group = null)
    {
        var (config, configPath) = (DitConfig.Load(source), source.Path);
        if (config.Lora is not null)
            throw TrainingFault.ConfigOfLora(configPath);
        return Run(config.Find(configPath), source, folder, progress, cancellationToken, group);
    }

    /// <summary>Trains a LoRA of the model folder's transformer. The run folder receives <see cref="LoraFile.Name"/>.</summary>
    /// <param name="source">A <see cref="DitConfig"/>; without <c>lora</c>, the defaults of <see cref="LoraConfig"/> apply.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Reports progress every few steps and every unusable item; null reports nothing.</param>
    /// <param name="cancellationToken">Stops the run after the current step and saves a checkpoint.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <returns>Messages about unusable items; empty if there are none.</returns>
    /// <exception cref="TrainingException">The configuration is invalid, or the data cannot be used.</exception>
    /// <exception cref="CheckpointException">A target of the LoRA matches no layer of the transformer, or the weights cannot be used.</exception>
    public static IReadOnlyList<string> RunLora(TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group = null)
    {
        var (config, configPath) = (DitConfig.Load(source), source.Path);
        if (config.FromScratch)
            throw TrainingFault.LoraFromScratch(configPath);
        config.Find(configPath);
        config.Lora ??= new LoraConfig();
        TrainedTransformer.Check(TransformerConfigs.Load(CheckpointFolder.Open(config.Model).Transformer(config.Variant).ConfigFile), config.Lora);
        return Run(config, source, folder, progress, cancellationToken, group);
    }

    private static IReadOnlyList<string> Run(DitConfig config, TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group)
    {
        if (Directory.Exists(folder))
            config = config.GoingOn(new RunFolder(folder));
        var start = CheckpointFolder.Open(config.Model);
        var faults = new FaultLog(fault => progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, fault.ToString())));
        using var models = new FrozenModels(config, start, TrainingDevice.For(config.Device, group));
        using var items = DitBatches.Open(config, PlanOf(config, group), models.Channels, faults, cancellationToken);
        foreach (var (bucket, _) in items.Plan.Counts.Concat(items.HeldOut.Counts))
        {
            if (bucket.Width % Multiple != 0 || bucket.Height % Multiple != 0)
                throw TrainingFault.ItemsNotHalved(source.Path, bucket.ToString(), Multiple);
        }

        group?.Agree(
            [
                ("the digest of the data", items.Plan.Digest),
                ("the digest of the held-out items", items.HeldOut.Digest),
                ("the digest of the transformer", FolderDigest.Of(start.Transformer(config.Variant).Folder)),
                ("the digest of the VAE", FolderDigest.Of(start.Vae.Folder)),
            ],
            cancellationToken);
        var run = new RunFolder(folder);
        var leftOut = new LeftOutFile(run, faults);
        using var trainer = new DitTrainer(config, run, start, items, models, group) { OnPublish = leftOut.Write };
        if (group is not { Rank: > 0 })
            ConfigPaths.Copy(source, run.File("config.json"), "model", "data.annotations");
        trainer.Run(progress, cancellationToken);
        return leftOut.End(group);
    }

    // Processes that share their clips are one to the plan; each draws its own noise.
    private static BatchPlanOptions PlanOf(DitConfig config, ProcessGroup? group)
    {
        var (rank, ranks) = (group?.Rank ?? 0, group?.WorldSize ?? 1);
        var sharing = config.SharingOf(ranks);
        return BatchPlanOptions.Of(config, config.Batch, rank, ranks, sharing) with { ImageShare = config.Data.ImageShare };
    }
}
