using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Vae;

/// <summary>Plans a VAE's training (<see cref="TrainingPlan"/>).</summary>
/// <param name="config">The configuration.</param>
/// <param name="sizes">Sizes of the VAE.</param>
/// <param name="buckets">Sizes of the items with their share of the batches, or of the largest that the configuration has.</param>
/// <param name="ranks">Processes.</param>
/// <param name="device">Where it trains.</param>
internal sealed class VaePlan(VaeConfig config, CausalVideoVaeConfig sizes, IReadOnlyList<(Bucket Bucket, double Share)> buckets, int ranks, Device device)
{
    // Forward, and two convolutions of its size in backward.
    private const int TrainedPasses = 3;

    // Latent frames of a window in which held-out clips are decoded.
    private const int MeasuredFrames = 2;

    /// <summary>What would take less memory, in the order in which it is tried.</summary>
    /// <param name="onGpu">Whether the training is on a GPU.</param>
    internal static IEnumerable<MemoryChange<VaeConfig>> Changes(bool onGpu) =>
    [
        new("checkpoint_ratio", "set checkpoint_ratio 1", config => config.CheckpointRatio > 0 ? null : config with { CheckpointRatio = 1 }),
        new("batch", "set batch 1 and image_batch 1, and more accumulation", config => config is { Batch: 1, ImageBatch: 1 }
            ? null : config with { Batch = 1, ImageBatch = 1, Accumulation = config.BatchesPerStep is null ? config.Accumulation * config.Batch : 1, BatchesPerStep = config.BatchesPerStep * config.Batch }),
        .. MemoryCheck.Common<VaeConfig>(onGpu),
    ];

    /// <summary>Computes the plan.</summary>
    public TrainingPlan Compute()
    {
        using var vae = new CausalVideoVae(sizes) { TrainsEncoder = !config.FreezeEncoder };
        var trained = vae.NamedParameters().Where(p => p.Parameter.Trainable).Sum(p => p.Parameter.ElementCount);
        var frozen = vae.ParameterCount() - trained;
        var state = new PlannedState(trained, ElementType.Float32, config, ranks, device);
        var discriminator = Discriminator is { } options ? new PlannedState(Count(options), ElementType.Float32, config, ranks, device, IsAveraged: false) : null;
        var sheets = config.SampleEvery > 0 ? config.Steps / config.SampleEvery : 0;
        return new TrainingPlan
        {
            Ranks = ranks,
            Device = device,
            Phases = [.. Phases(state, discriminator, frozen)],
            Weights = trained + (discriminator?.Count ?? 0),
            Products = 0,
            Convolutions = config.MeanMicroBatches(ranks) * buckets.Sum(each => each.Share * Flops(each.Bucket)),
            SentBytes = state.SentBytes + (discriminator?.SentBytes ?? 0),
            StateBytes = state.StateBytes + (discriminator?.StateBytes ?? 0),
            States = PlannedState.StatesOf(config),
            KeepsBest = false,
            PublishedBytes = (trained + frozen + (discriminator?.Count ?? 0)) * sizeof(float),
            SampleBytes = sheets * config.HeldOut * buckets.Max(each => ContactSheet.Bytes(1, each.Bucket.Width, each.Bucket.Height)),
            Largest = buckets.Select(each => each.Bucket).Max().ToString(),
        };
    }

    private VaeDiscriminatorOptions? Discriminator => config.Discriminator;

    // A discriminator that begins after the last step is held, and not computed with.
    private bool IsDiscriminatorUsed => Discriminator is { } options && options.Start < config.Steps;

    private IEnumerable<PlannedPhase> Phases(PlannedState state, PlannedState? discriminator, long frozen)
    {
        var isHost = device.Type != DeviceType.Cpu;
        List<PlannedPart> held =
        [
            new("program", RunMemory.Base, PlannedKind.Counted, isHost),
            .. frozen > 0 ? [new PlannedPart("frozen weights (Float32)", frozen * sizeof(float))] : Array.Empty<PlannedPart>(),
            .. config.PerceptualWeight > 0 ? [new PlannedPart("LPIPS", PerceptualCount() * sizeof(float))] : Array.Empty<PlannedPart>(),
        ];
        yield return new PlannedPhase("loading", [.. held, new PlannedPart("weights as read", (state.Count + (discriminator?.Count ?? 0)) * sizeof(float)), .. state.Parts().Take(1)]);
        var clip = buckets.Max(each => 3L * each.Bucket.Width * each.Bucket.Height * each.Bucket.Frames);
        var batch = buckets.Max(each => 3L * Size(each.Bucket).Positions);
        held =
        [
            .. held, .. state.Parts(), .. discriminator?.Parts("discriminator: ") ?? [],
            new("items read ahead", batch * (config.Data.Prefetch + 1), PlannedKind.Counted, isHost),
            new("held-out clips", config.HeldOut * clip, PlannedKind.Counted, isHost),
        ];
        yield return new PlannedPhase("a step", [.. held, new PlannedPart("pixels", batch * sizeof(float)), new PlannedPart("activations of the VAE", buckets.Max(each => Activations(each.Bucket)), PlannedKind.Counted)]);
        if (isHost)
            yield return new PlannedPhase("an update", [.. held, new PlannedPart("denominators", state.UpdateBytes, PlannedKind.Counted)]);
        if (config.HeldOut > 0)
            yield return new PlannedPhase("a measurement", [.. held, new PlannedPart("weights beside the average", config.IsAveraged ? state.Count * sizeof(float) : 0), new PlannedPart("decoding", buckets.Max(each => Decoding(each.Bucket)), PlannedKind.Counted)]) { IsBetweenSteps = true };
        if (state.Held < state.Count)
            yield return new PlannedPhase("a checkpoint of process 0", [.. held, new PlannedPart("collected weights", state.Count * sizeof(float), OnHost: isHost)]) { IsBetweenSteps = true };
    }

    private ClipBatchSize Size(Bucket bucket) => new(bucket.IsImage ? config.ImageBatch : config.Batch, bucket.Frames, bucket.Height, bucket.Width);

    private long Activations(Bucket bucket)
    {
        var (size, hasWindows) = (Size(bucket), config.Windows > 1 && !bucket.IsImage);
        if (hasWindows)
            size = size with { Frames = TimeWindows.Split(bucket.Frames, config.Windows, sizes.TemporalScale)[0].Length };
        var loss = LossMemory.Of(size, config.PerceptualWeight > 0 ? LossMemory.VggChannels : null, IsDiscriminatorUsed ? (Discriminator!.Width, Discriminator.Layers) : null, device.Type);
        return new VaeActivations(sizes, ElementType.Float32, config.ComputeType, device.Type, config.CheckpointRatio > 0, hasWindows).Training(size, !config.FreezeEncoder, loss);
    }

    private long Decoding(Bucket bucket)
    {
        var latents = VideoLength.Latents(bucket.Frames);
        return DecoderMemory.Peak(sizes, new DecodedClip(bucket.Height / sizes.SpatialScale, bucket.Width / sizes.SpatialScale, 1, MeasuredFrames, latents), MeasuredFrames, null, byTile: false, ElementType.Float32);
    }

    private double Flops(Bucket bucket)
    {
        var (size, scale) = (Size(bucket), sizes.SpatialScale);
        var passes = TrainedPasses + (config.CheckpointRatio > 0 ? 1 : 0);
        var encode = (config.FreezeEncoder ? 1.0 : passes) * VaeFlops.Encode(sizes, bucket.Frames, bucket.Height, bucket.Width);
        var decode = (double)passes * VaeFlops.Decode(sizes, ((bucket.Frames - 1) / sizes.TemporalScale) + 1, bucket.Height / scale, bucket.Width / scale);
        return (size.Rows * (encode + decode)) + (config.PerceptualWeight > 0 ? LossMemory.PerceptualFlops(size, LossMemory.VggChannels) : 0);
    }

    private static long Count(VaeDiscriminatorOptions options)
    {
        using var declared = new PatchDiscriminator(new DiscriminatorConfig(3, options.Width, options.Layers, options.Clips));
        return declared.ParameterCount();
    }

    private static long PerceptualCount()
    {
        using var declared = new Lpips();
        return declared.ParameterCount();
    }
}
