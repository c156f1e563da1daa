using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Vae;

/// <summary>Trains a VAE on videos and images, as a configuration says.</summary>
public static class VaeTraining
{
    private const int ReportEvery = 100;

    /// <summary>
    /// Trains a VAE, or resumes the run in the folder. The run folder receives <c>causal_video_vae</c> in the released layout at every
    /// checkpoint.
    /// </summary>
    /// <param name="source">A <see cref="VaeConfig"/>.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="progress">Reports progress every few steps and every unusable item; null reports nothing.</param>
    /// <param name="cancellationToken">Stops the run after the current step and saves a checkpoint.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <returns>Messages about unusable items; empty if there are none.</returns>
    /// <exception cref="CheckpointException">Weights are missing, damaged or belong to another network.</exception>
    /// <exception cref="TrainingException">The configuration is invalid, the data cannot be used, or the training failed.</exception>
    public static IReadOnlyList<string> Run(TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group = null) =>
        Run(source, folder, progress, cancellationToken, group, probe: null);

    /// <summary>Takes a few measured steps of a training that <see cref="Plan"/> has found to fit; leaves nothing behind.</summary>
    /// <param name="source">A <see cref="VaeConfig"/>.</param>
    /// <param name="probe">Takes the measurements.</param>
    /// <param name="progress">Reports every unusable item; null reports nothing.</param>
    /// <param name="cancellationToken">Stops after the current step.</param>
    /// <exception cref="TrainingException">The configuration is invalid, or the data cannot be used.</exception>
    internal static void Probe(TrainingConfigSource source, TrainingProbe probe, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken) =>
        Run(source, probe.Folder, progress, cancellationToken, group: null, probe);

    private static IReadOnlyList<string> Run(TrainingConfigSource source, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken, ProcessGroup? group,
        TrainingProbe? probe)
    {
        var config = VaeConfig.Load(source).Find(source.Path);
        var device = TrainingDevice.For(config.Device, group);
        var sizes = VaeNetworks.Config(config);
        if (config.PerceptualWeight > 0 && !File.Exists(config.Lpips))
            throw CheckpointFault.LpipsMissing(config.Lpips!);
        using var discriminator = VaeNetworks.Discriminator(config, device);
        var faults = new FaultLog(fault => progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, fault.ToString())));
        using var clips = VaeClips.OpenAsync(config, sizes, discriminator, device, faults,
            new DelegateProgress<(int Done, int Total)>(ReportScan), group, cancellationToken).GetAwaiter().GetResult();
        var room = TrainingRoom.Of(device, MemoryCheck.Local(group));
        var plan = MemoryCheck.Require(source.Path, config, (changed, ranks) => new VaePlan(changed, sizes, clips.Plan.Shares, ranks, device).Compute(),
            group?.WorldSize ?? 1, room, VaePlan.Changes(device.Type != DeviceType.Cpu));
        if (MemoryCheck.Warning(plan, room) is { } warning)
            progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, warning) { IsLasting = true });
        using var lpips = config.PerceptualWeight > 0 ? Lpips.Open(config.Lpips!) : null;
        using var loss = VaeNetworks.Loss(config, lpips, discriminator, device);
        using var vae = VaeNetworks.Vae(config, sizes, device);

        var run = new RunFolder(folder);
        config = config.GoingOn(run);
        var leftOut = new LeftOutFile(run, faults);
        using var training = new VaeTrainer(config, run, vae, loss, discriminator, clips.Batch, clips.HeldOut, group)
        {
            OnBegin = () => ConfigPaths.Copy(source, run.File("config.json"), "start_from", "lpips", "data.annotations"),
            OnPublish = leftOut.Write,
            Plan = plan,
            Data = clips.Plan.Describe(faults.Faults.Count, FormattableString.Invariant($"{config.Batch} videos or {config.ImageBatch} images")) with { HeldOut = clips.HeldOut.Count },
        };
        var loop = new TrainingLoop(config, training, run, group);
        if (probe is not null)
        {
            loop.Probe(probe, cancellationToken);
            return [];
        }

        loop.Run(progress, cancellationToken);
        return leftOut.End(group);

        void ReportScan((int Done, int Total) scanned)
        {
            if (scanned.Done % ReportEvery == 0)
                progress?.Report(new TrainingProgress(scanned.Done, 0, 0, 0, "items scanned"));
        }
    }

    /// <summary>Plans a training; reads neither weights nor, where they are not there, the items.</summary>
    /// <param name="source">A <see cref="VaeConfig"/>.</param>
    /// <param name="ranks">Processes.</param>
    /// <param name="progress">Reports every unusable item; null reports nothing.</param>
    /// <param name="cancellationToken">Cancels the scan of the data.</param>
    /// <returns>The plan, and the error that the training would end with for lack of memory.</returns>
    /// <exception cref="TrainingException">The configuration is invalid, or the data cannot be used.</exception>
    internal static PlannedTraining Plan(TrainingConfigSource source, int ranks, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        var config = VaeConfig.Load(source).Find(source.Path);
        var (sizes, device) = (VaeNetworks.PlannedConfig(config), TrainingDevice.Parse(config.Device));
        var faults = new FaultLog(fault => progress?.Report(new TrainingProgress(0, config.Steps, 0, 0, fault.ToString())));
        var scanned = config.Data.AreThere ? DataSources.ScanClipsAsync(config.Data, captions: false, faults, null, cancellationToken).GetAwaiter().GetResult() : null;
        scanned?.Require(faults, config.Data.SkipMissing);
        var options = new BatchPlanOptions(config.Seed, config.Batch, World: ranks, ImageShare: config.Data.ImageShare, ImageBatchSize: config.ImageBatch);
        var images = config.Data.ImageShare ?? 0;
        IReadOnlyList<(Bucket Bucket, double Share)> buckets = scanned is null
            ? [(config.Data.Largest(), 1 - images), .. images > 0 ? [(config.Data.Largest() with { Frames = 1 }, images)] : Array.Empty<(Bucket, double)>()]
            : new BatchPlan(scanned.HoldOut(config.HeldOut).Training, options).Shares;
        return PlannedTraining.Of(source.Path, config, (changed, processes) => new VaePlan(changed, sizes, buckets, processes, device).Compute(),
            ranks, device, VaePlan.Changes(device.Type != DeviceType.Cpu), scanned?.Items.Count);
    }
}

/// <summary>Creates the networks of a VAE training with their initial weights.</summary>
internal static class VaeNetworks
{
    /// <summary>Configuration of the VAE: the configured one, or that of the initial weights.</summary>
    /// <exception cref="CheckpointException">The initial weights are missing or belong to another network.</exception>
    internal static CausalVideoVaeConfig Config(VaeConfig config) =>
        config.Vae ?? (config.StartFrom is { } start && !File.Exists(start) ? CausalVideoVaeConfig.Read(VaeFolder.Find(start).ConfigFile) : CausalVideoVaeConfig.Released);

    /// <summary>The same for a plan, which the model or run that training starts from need not be there for: then that of the released models.</summary>
    internal static CausalVideoVaeConfig PlannedConfig(VaeConfig config) =>
        config.Vae is null && config.StartFrom is { } start && !Path.Exists(start) ? CausalVideoVaeConfig.Released : Config(config);

    /// <summary>The VAE with its initial weights, float32.</summary>
    /// <exception cref="CheckpointException">The weights are damaged or belong to another network.</exception>
    internal static CausalVideoVae Vae(VaeConfig config, CausalVideoVaeConfig sizes, Device device)
    {
        var vae = new CausalVideoVae(sizes) { ConvolutionType = config.ComputeType == ElementType.Float32 ? null : config.ComputeType };
        if (config.StartFrom is { } start)
        {
            using var weights = File.Exists(start) ? WeightsFile.Open(start) : VaeFolder.Find(start).OpenWeights();
            vae.Load(weights, ElementType.Float32, device);
        }
        else
        {
            using var generator = new RandomGenerator((ulong)config.Seed);
            vae.Initialize(generator);
            vae.To(ElementType.Float32, device);
        }

        return vae;
    }

    /// <summary>The discriminator with the weights of the run that the VAE comes from, or new ones; null if none is configured.</summary>
    /// <exception cref="CheckpointException">The weights are damaged or belong to another network.</exception>
    internal static PatchDiscriminator? Discriminator(VaeConfig config, Device device)
    {
        if (config.Discriminator is not { } options)
            return null;
        var discriminator = new PatchDiscriminator(new DiscriminatorConfig(3, options.Width, options.Layers, options.Clips));
        var earlier = config.StartFrom is { } start ? Path.Combine(start, VaeTrainer.DiscriminatorFile) : null;
        if (File.Exists(earlier))
        {
            using var weights = WeightsFile.Open(earlier);
            discriminator.Load(weights, ElementType.Float32, device);
        }
        else
        {
            using var generator = new RandomGenerator((ulong)config.Seed + 1);
            discriminator.Initialize(generator);
            discriminator.To(ElementType.Float32, device);
        }

        return discriminator;
    }

    /// <summary>The loss, on the device.</summary>
    internal static VaeLoss Loss(VaeConfig config, Lpips? lpips, PatchDiscriminator? discriminator, Device device)
    {
        var loss = new VaeLoss(config.Loss, lpips, discriminator);
        loss.To(ElementType.Float32, device);
        return loss;
    }
}

/// <summary>The videos and images of a VAE training: prefetched batches, and the held-out clips.</summary>
internal sealed class VaeClips : IDisposable
{
    private readonly IBatchSource<ClipBatch> source;
    private readonly Device device;

    private VaeClips(IBatchSource<ClipBatch> source, IReadOnlyList<Func<Tensor>> heldOut, Device device) =>
        (this.source, HeldOut, this.device) = (source, heldOut, device);

    /// <summary>The plan of all batches.</summary>
    internal BatchPlan Plan => source.Plan;

    /// <summary>Clips for evaluation, [1, 3, t, h, w] each.</summary>
    internal IReadOnlyList<Func<Tensor>> HeldOut { get; }

    /// <summary>Scans all items and rejects sizes that the networks cannot process.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="vae">Configuration of the VAE.</param>
    /// <param name="discriminator">The discriminator, or null.</param>
    /// <param name="device">Device of the batches.</param>
    /// <param name="faults">Records bad items.</param>
    /// <param name="progress">Reports the number of scanned items.</param>
    /// <param name="group">Process group of the training, whose rank 0 measures; null trains in this process alone.</param>
    /// <param name="cancellationToken">Cancels the operation.</param>
    /// <exception cref="TrainingException">A size does not fit the networks, an option or a line is wrong, files are missing, or nearly nothing is usable.</exception>
    internal static async Task<VaeClips> OpenAsync(VaeConfig config, CausalVideoVaeConfig vae, PatchDiscriminator? discriminator, Device device,
        FaultLog faults, IProgress<(int Done, int Total)> progress, ProcessGroup? group, CancellationToken cancellationToken)
    {
        var options = config.Data;
        foreach (var frames in config.Windows > 1 ? options.Frames ?? [] : [])
            TimeWindows.Split(frames, config.Windows, vae.TemporalScale);
        var all = await DataSources.ScanClipsAsync(options, captions: false, faults, progress, cancellationToken).ConfigureAwait(false);
        all.Require(faults, options.SkipMissing);
        group?.Agree([("the digest of the data", all.Digest)], cancellationToken);
        foreach (var (bucket, _) in all.Counts)
            Check(bucket, vae, discriminator);
        var (training, measured) = all.HoldOut(config.HeldOut);
        var clips = group is { Rank: > 0 } ? [] : await DataSources.ReadClipsAsync(measured, options, faults, cancellationToken).ConfigureAwait(false);
        var plan = BatchPlanOptions.Of(config, config.Batch, group?.Rank ?? 0, group?.WorldSize ?? 1) with { ImageShare = options.ImageShare, ImageBatchSize = config.ImageBatch };
        return new VaeClips(DataSources.OpenClips(training, options, plan, faults), [.. clips.Select(clip => (Func<Tensor>)(() => clip.Pixels(device)))], device);
    }

    /// <summary>The clips of a batch, [b, 3, t, h, w].</summary>
    internal Tensor Batch(long number) => source.Batch(number).Pixels(device);

    /// <inheritdoc/>
    public void Dispose() => source.Dispose();

    private static void Check(Bucket bucket, CausalVideoVaeConfig vae, PatchDiscriminator? discriminator)
    {
        if (bucket.Width % vae.SpatialScale != 0 || bucket.Height % vae.SpatialScale != 0 || (bucket.Frames - 1) % vae.TemporalScale != 0)
            throw TrainingFault.ClipsMisfitVae(bucket.ToString(), vae.SpatialScale, vae.TemporalScale);
        if (discriminator is not null && Math.Min(bucket.Width, bucket.Height) < discriminator.LeastSide)
            throw TrainingFault.ClipsTooSmall(bucket.ToString(), discriminator.Config.Layers, discriminator.LeastSide);
    }
}
