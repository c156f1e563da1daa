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
    /// <summary>Width and height of items are multiples of this: three stages of 2x2 patches over latents at an eighth of the picture size.</summary>
    internal const int Multiple = 64;

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
        var config = Load(source, DitKind.Whole);
        return Run(config.Find(source.Path), source, folder, progress, cancellationToken, group);
    }

    /// <summary>Trains a student of a model's transformer. The run folder receives <c>diffusion_transformer</c>, as that of a transformer.</summary>
    /// <param name="source">A <see cref="DitConfig"/> with <c>distill</c>.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Reports progress every few steps and every unusable item; null reports nothing.</param>
    /// <param name="cancellationToken">Stops the run after the current step and saves a checkpoint.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <returns>Messages about unusable items; empty if there are none.</returns>
    /// <exception cref="TrainingException">The configuration is invalid or describes no distillation, the teacher does not fit the student, or the data cannot be used.</exception>
    public static IReadOnlyList<string> RunDistill(TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group = null)
    {
        var config = Load(source, DitKind.Distill);
        return Run(config.Find(source.Path), source, folder, progress, cancellationToken, group);
    }

    /// <summary>Takes a few measured steps of a training that <see cref="Plan"/> has found to fit; leaves nothing behind.</summary>
    /// <param name="source">A <see cref="DitConfig"/>.</param>
    /// <param name="kind">The command that trains it.</param>
    /// <param name="probe">Takes the measurements.</param>
    /// <param name="progress">Reports every unusable item; null reports nothing.</param>
    /// <param name="cancellationToken">Stops after the current step.</param>
    /// <exception cref="TrainingException">The configuration is invalid, or the data cannot be used.</exception>
    internal static void Probe(TrainingConfigSource source, DitKind kind, TrainingProbe probe, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        var config = Load(source, kind);
        if (kind == DitKind.Lora && config.FromScratch)
            throw TrainingFault.LoraFromScratch(source.Path);
        Run(config.Find(source.Path), source, probe.Folder, progress, cancellationToken, group: null, probe);
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
        var config = Load(source, DitKind.Lora);
        if (config.FromScratch)
            throw TrainingFault.LoraFromScratch(source.Path);
        config.Find(source.Path);
        TrainedTransformer.Check(TransformerConfigs.Load(CheckpointFolder.Open(config.Model).Transformer(config.Variant).ConfigFile), config.Lora!);
        return Run(config, source, folder, progress, cancellationToken, group);
    }

    // The configuration of a command; a LoRA that it does not describe is the usual one.
    private static DitConfig Load(TrainingConfigSource source, DitKind kind)
    {
        var config = DitConfig.Load(source);
        kind.Require(source.Path, config.Lora, config.Distill);
        if (kind == DitKind.Lora)
            config.Lora ??= new LoraConfig();
        return config;
    }

    private static IReadOnlyList<string> Run(DitConfig config, TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group,
        TrainingProbe? probe = null)
    {
        if (Directory.Exists(folder))
            config = config.GoingOn(new RunFolder(folder));
        var start = CheckpointFolder.Open(config.Model);
        var faults = new FaultLog(fault => progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, fault.ToString())));
        var device = TrainingDevice.For(config.Device, group);
        var model = DitModel.Of(start, config.Variant);
        var teacher = TeacherOf(source.Path, config, start);
        TransformerSamples.Resolve(config.Samples, config.SettingsOf(teacher?.Settings ?? model.Settings));
        if (config.Input == DitInput.Latents)
            config.Data = config.Data with { Encoders = (SourceModel.OfVae(start.Vae), config.Captions == CaptionForm.Features ? SourceModel.OfTexts(start) : null) };
        using var items = DitBatches.Open(config, PlanOf(config, group?.Rank ?? 0, group?.WorldSize ?? 1), model.Vae.EncoderOutChannels, faults, cancellationToken);
        config = config with { HeldOut = items.HeldOut.Items.Count };
        RequireHalved(source.Path, items.Plan.Shares.Select(share => share.Bucket).Concat(items.HeldOut.Counts.Select(count => count.Bucket)));
        var empty = EmptyFeatures(config, model, items.Plan.Items);
        var room = TrainingRoom.Of(device, MemoryCheck.Local(group));
        var plan = MemoryCheck.Require(source.Path, config,
            (changed, ranks) => new DitPlan(changed, model, items.Plan.Shares, ranks, device) { HasEmptyFeatures = empty is not null, Teacher = teacher?.Settings }.Compute(),
            group?.WorldSize ?? 1, room, DitPlan.Changes(device.Type != DeviceType.Cpu));
        if (MemoryCheck.Warning(plan, room) is { } warning)
            progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, warning) { IsLasting = true });
        using var models = new FrozenModels(config, start, device, empty, teacher?.Settings);
        group?.Agree(
            [
                ("the digest of the data", items.Plan.Digest),
                ("the digest of the held-out items", items.HeldOut.Digest),
                ("the digest of the transformer", FolderDigest.Of(start.Transformer(config.Variant).Folder)),
                ("the digest of the VAE", FolderDigest.Of(start.Vae.Folder)),
            ],
            cancellationToken);
        if (config.Lora is not null && model.Settings.Distilled is not null)
            progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, "the LoRA is of a distilled model and learns from data: it may undo what the model was distilled to") { IsLasting = true });
        var run = new RunFolder(folder);
        var leftOut = new LeftOutFile(run, faults);
        using var trainer = new DitTrainer(config, run, start, items, models, group, teacher)
        {
            OnBegin = () => ConfigPaths.Copy(source, run.File("config.json"), "model", "data.annotations", Teacher.Key, Teacher.LoraKey),
            OnPublish = leftOut.Write,
            Plan = plan,
        };
        if (probe is not null)
        {
            trainer.Probe(probe, cancellationToken);
            return [];
        }

        trainer.Run(progress, cancellationToken);
        return leftOut.End(group);
    }

    /// <summary>Plans a training; reads neither weights nor, where they are not there, the items.</summary>
    /// <param name="source">A <see cref="DitConfig"/>.</param>
    /// <param name="kind">The command that trains it.</param>
    /// <param name="ranks">Processes.</param>
    /// <param name="progress">Reports every unusable item; null reports nothing.</param>
    /// <param name="cancellationToken">Cancels the scan of the data.</param>
    /// <returns>The plan, and the error that the training would end with for lack of memory.</returns>
    /// <exception cref="TrainingException">The configuration is invalid, or the data cannot be used.</exception>
    internal static PlannedTraining Plan(TrainingConfigSource source, DitKind kind, int ranks, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        var config = Load(source, kind);
        var model = DitModel.Named(source.Path, config);
        // Whether a teacher fits is known where the student's model is there.
        Teacher? teacher = null;
        if (config.Distill is { } distill && Teacher.IsNeeded(source.Path, distill))
        {
            if (model.IsHere)
                teacher = TeacherOf(source.Path, config, CheckpointFolder.Open(ConfigPaths.Model(source.Path, "model", config.Model)));
            else if (distill.Teacher is { } given)
                ConfigPaths.Model(source.Path, Teacher.Key, given);
        }

        config.Data.Find(source.Path);
        if (config.Lora is { } lora)
            TrainedTransformer.Check(model.Transformer, lora);
        var device = TrainingDevice.Parse(config.Device);
        using var items = config.Data.AreThere ? OpenItems() : null;
        IReadOnlyList<(Bucket Bucket, double Share)> sizes = items is null ? [(config.Data.Largest(), 1)] : items.Plan.Shares;
        RequireHalved(source.Path, sizes.Select(size => size.Bucket));
        var hasEmpty = items is not null && EmptyFeatures(config, model, items.Plan.Items) is not null;
        return PlannedTraining.Of(source.Path, config, Compute, ranks, device, DitPlan.Changes(device.Type != DeviceType.Cpu), items?.Plan.Describe(items.LeftOut, "").Items);

        TrainingPlan Compute(DitConfig changed, int processes) => new DitPlan(changed, model, sizes, processes, device) { HasEmptyFeatures = hasEmpty, Teacher = teacher?.Settings }.Compute();

        DitBatches OpenItems() => DitBatches.Open(config, PlanOf(config, 0, ranks), model.Vae.EncoderOutChannels,
            new FaultLog(fault => progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, fault.ToString()))), cancellationToken);
    }

    private static Teacher? TeacherOf(string file, DitConfig config, CheckpointFolder start) =>
        config.Distill is { } distill ? Teacher.Find(file, distill, start, config.Variant, config.Objective == TemporalObjective.FullSequence) : null;

    private static void RequireHalved(string file, IEnumerable<Bucket> sizes)
    {
        foreach (var bucket in sizes)
        {
            if (bucket.Width % Multiple != 0 || bucket.Height % Multiple != 0)
                throw TrainingFault.ItemsNotHalved(file, bucket.ToString(), Multiple);
        }
    }

    // The file that extract text has left beside the features; null where there is none of this model.
    private static string? EmptyFeatures(DitConfig config, DitModel model, IEnumerable<DataItem> items)
    {
        if (config.Captions != CaptionForm.Features)
            return null;
        var file = items.Select(item => Path.GetDirectoryName(item.Annotation.TextFeatures)).OfType<string>().Distinct()
            .Select(folder => Path.Combine(folder, TextExtraction.EmptyName)).FirstOrDefault(File.Exists);
        return file is not null && TextItemFile.Open(file) is var features && features.Width == model.Transformer.JointAttentionDim && features.Pooled.Length == model.Transformer.PooledProjectionDim
            && Provenance.Fits(Provenance.EncoderOf(file), config.Data.Encoders.Text)
            ? file
            : null;
    }

    // Processes that share their clips are one to the plan; each draws its own noise.
    private static BatchPlanOptions PlanOf(DitConfig config, int rank, int ranks)
    {
        return BatchPlanOptions.Of(config, config.Batch, rank, ranks, config.SharingOf(ranks)) with { ImageShare = config.Data.ImageShare };
    }
}
