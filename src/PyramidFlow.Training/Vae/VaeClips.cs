using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Data;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Vae;

/// <summary>The videos and images of a VAE's training: batches in the background, and the clips that are held out.</summary>
internal sealed class VaeClips : IDisposable
{
    private readonly IBatchSource<ClipBatch> source;
    private readonly Device device;

    private VaeClips(IBatchSource<ClipBatch> source, IReadOnlyList<Func<Tensor>> heldOut, Device device) =>
        (this.source, HeldOut, this.device) = (source, heldOut, device);

    /// <summary>Clips that are not trained on, [1, 3, t, h, w] each.</summary>
    internal IReadOnlyList<Func<Tensor>> HeldOut { get; }

    /// <summary>Looks at all items, and refuses what the networks cannot take.</summary>
    /// <param name="config">Which items, and how many at a time.</param>
    /// <param name="vae">The network's sizes.</param>
    /// <param name="discriminator">The discriminator, or null.</param>
    /// <param name="device">Where batches go.</param>
    /// <param name="faults">Told about bad items.</param>
    /// <param name="progress">Told how many items were looked at.</param>
    /// <param name="group">The processes that train together, of which the first measures, or null for one.</param>
    /// <param name="cancel">Stops it.</param>
    /// <exception cref="ArgumentException">Sizes do not fit the networks.</exception>
    /// <exception cref="DataException">An option or a line is wrong, files are missing, or (nearly) nothing can be used.</exception>
    internal static async Task<VaeClips> OpenAsync(VaeRunConfig config, CausalVideoVaeConfig vae, PatchDiscriminator? discriminator, Device device,
        FaultLog faults, IProgress<int> progress, ProcessGroup? group, CancellationToken cancel)
    {
        var options = config.Data;
        foreach (var frames in config.Windows > 1 ? options.Frames ?? [] : [])
            TimeWindows.Of(frames, config.Windows, vae.TemporalScale);
        var all = await DataSources.LookAtClipsAsync(options, captions: false, faults, progress, cancel).ConfigureAwait(false);
        all.Require(faults, options.SkipMissing);
        foreach (var (bucket, _) in all.Counts)
            Check(bucket, vae, discriminator);
        var (training, measured) = all.HoldOut(config.HeldOut);
        var clips = group is { Rank: > 0 } ? [] : await DataSources.ReadClipsAsync(measured, options, faults, cancel).ConfigureAwait(false);
        var plan = new BatchPlanOptions(config.Seed, config.Batch, group?.Rank ?? 0, group?.WorldSize ?? 1, ImageShare: options.ImageShare, ImageBatchSize: config.ImageBatch);
        return new VaeClips(DataSources.OpenClips(training, options, plan, faults), [.. clips.Select(clip => (Func<Tensor>)(() => clip.Pixels(device)))], device);
    }

    /// <summary>The clips of a batch, [b, 3, t, h, w].</summary>
    internal Tensor Batch(long number) => source.Batch(number).Pixels(device);

    /// <inheritdoc/>
    public void Dispose() => source.Dispose();

    private static void Check(Bucket bucket, CausalVideoVaeConfig vae, PatchDiscriminator? discriminator)
    {
        if (bucket.Width % vae.SpatialScale != 0 || bucket.Height % vae.SpatialScale != 0 || (bucket.Frames - 1) % vae.TemporalScale != 0)
            throw new ArgumentException($"clips of {bucket} do not fit this vae: use multiples of {vae.SpatialScale} pixels, and 1 + multiples of {vae.TemporalScale} frames");
        if (discriminator is not null && Math.Min(bucket.Width, bucket.Height) < discriminator.LeastSide)
            throw new ArgumentException($"clips of {bucket} are too small for a discriminator of {discriminator.Config.Layers} layers: use at least {discriminator.LeastSide}x{discriminator.LeastSide}, or fewer layers");
    }
}
