using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Dit;

/// <summary>Plans a transformer's training (<see cref="TrainingPlan"/>).</summary>
/// <param name="config">The configuration.</param>
/// <param name="model">Its model.</param>
/// <param name="buckets">Sizes of the items with their share of the batches, or of the largest that the configuration has.</param>
/// <param name="ranks">Processes.</param>
/// <param name="device">Where it trains.</param>
internal sealed class DitPlan(DitConfig config, DitModel model, IReadOnlyList<(Bucket Bucket, double Share)> buckets, int ranks, Device device)
{
    private readonly PyramidFlowScheduler scheduler = new();

    /// <summary>Text tokens of a caption; the most that the encoders take.</summary>
    public int TextTokens { get; init; } = PromptEncoder.MaxTokens;

    /// <summary>Whether the features of the empty caption are a file, so that no text encoder is needed for them.</summary>
    public bool HasEmptyFeatures { get; init; }

    /// <summary>Settings of the teacher of a distillation; null are those of the model.</summary>
    public PipelineSettings? Teacher { get; init; }

    private ElementType Type => config.ComputeType;

    private bool EncodesText => config.Captions == CaptionForm.Text;

    private int Rows => config.Batch / config.Workers;

    /// <summary>What would take less memory, in the order in which it is tried.</summary>
    /// <param name="onGpu">Whether the training is on a GPU.</param>
    internal static IEnumerable<MemoryChange<DitConfig>> Changes(bool onGpu) =>
    [
        new("checkpoint_ratio", "set checkpoint_ratio 1", config => config.CheckpointRatio >= 1 ? null : config with { CheckpointRatio = 1 }),
        new("vae_window", "set vae_window 8", config => config.Input != DitInput.Media || config.VaeWindow <= VideoLength.Scale ? null : config with { VaeWindow = VideoLength.Scale }),
        new("batch", "take the smallest batch, and more accumulation", config => Smaller(config) is { } batch
            ? config with { Batch = batch, Accumulation = config.BatchesPerStep is null ? config.Accumulation * config.Batch / batch : 1, BatchesPerStep = config.BatchesPerStep * config.Batch / batch } : null),
        .. MemoryCheck.Common<DitConfig>(onGpu),
        new("captions", "extract latents and text features before (input latents, captions features)", config => config is { Input: DitInput.Latents, Captions: CaptionForm.Features }
            ? null : config with { Input = DitInput.Latents, Captions = CaptionForm.Features }),
    ];

    // The smallest batch that can be dealt to workers and stages; null where it is the batch, or does not divide it.
    private static int? Smaller(DitConfig config) =>
        config.Workers * config.SampleRatios.Sum() is var least && least < config.Batch && config.Batch % least == 0 ? least : null;

    /// <summary>Computes the plan.</summary>
    /// <exception cref="CheckpointException">A config of a model that the training loads is missing or wrong.</exception>
    /// <exception cref="TrainingException">Samples are impossible.</exception>
    public TrainingPlan Compute()
    {
        var sizes = model.TransformerSizes();
        var trained = config.Lora is { } lora ? DitModel.Adapters(model.Transformer, lora) : sizes.Count - DitModel.Tables(model.Transformer);
        var state = new PlannedState(trained, Type, config, ranks, device);
        var phases = Phases(sizes, state).ToList();
        var clips = TransformerSamples.Resolve(config.Samples, Settings);
        var sheet = clips.Count == 0 ? 0 : ContactSheet.Bytes(clips.Count, clips[0].Width, clips[0].Height);
        return new TrainingPlan
        {
            Ranks = ranks,
            Device = device,
            Phases = phases,
            Weights = trained,
            Products = config.MeanMicroBatches(ranks) * buckets.Sum(each => each.Share * ProductsOf(each.Bucket)),
            Convolutions = config.Input == DitInput.Media ? config.MeanMicroBatches(ranks) * config.Batch * buckets.Sum(each => each.Share * VaeFlops.Encode(model.Vae, each.Bucket.Frames, each.Bucket.Height, each.Bucket.Width)) : 0,
            SentBytes = state.SentBytes,
            StateBytes = state.StateBytes + TeacherStateBytes(config.Distill, trained, Type),
            States = PlannedState.StatesOf(config),
            KeepsBest = config.KeepBest && IsMeasured,
            PublishedBytes = (trained + (config.Lora is null ? DitModel.Tables(model.Transformer) : 0)) * sizeof(float),
            SampleBytes = config.SampleEvery > 0 ? config.Steps / config.SampleEvery * sheet : 0,
            Largest = buckets.Select(each => each.Bucket).Max().ToString(),
        };
    }

    private bool IsMeasured => config.HeldOut is null or > 0;

    private PipelineSettings Settings => config.SettingsOf(Teacher ?? model.Settings);

    private IEnumerable<PlannedPhase> Phases(WeightSizes sizes, PlannedState state)
    {
        var program = new PlannedPart("program", RunMemory.Base, PlannedKind.Counted, OnHost: device.Type != DeviceType.Cpu);
        List<PlannedPart> vae = config.Input == DitInput.Media ? [Weights("VAE", model.VaeSizes())] : [];
        var samples = TransformerSamples.Resolve(config.Samples, Settings);
        var encoders = EncodesText || samples.Count > 0 || (config.TextDrop > 0 && !HasEmptyFeatures) || config.Distill?.Scales is not null ? model.TextSizes().ToList() : [];
        List<PlannedPart> text = [.. encoders.Select((each, i) => Weights(i == encoders.Count - 1 ? "T5" : encoders.Count == 2 ? "CLIP" : $"CLIP {i + 1}", each))];
        if (text.Count > 0)
            yield return new PlannedPhase("the first captions", [program, .. vae, .. text, new PlannedPart("work of the text encoders", RunMemory.TextWork(model.T5, Type), PlannedKind.Counted)]);
        List<PlannedPart> held = [program, .. vae, .. EncodesText ? text : []];
        var frozen = config.Distill is not null ? [TeacherWeights(sizes, Type)] : config.Lora is null ? [] : new[] { Weights("frozen weights", sizes) };
        // The weights are read in float32 where they are trained, and copied into one vector.
        yield return new PlannedPhase("loading", [.. held, .. frozen, .. config.Lora is null ? Loaded(sizes) : [], .. state.Parts().Take(Type == ElementType.Float32 ? 1 : 2)]);
        held = [.. held, .. frozen, .. state.Parts(), Prefetched()];
        yield return new PlannedPhase("a step", [.. held, .. Work()]);
        if (device.Type != DeviceType.Cpu)
            yield return new PlannedPhase("an update", [.. held, new PlannedPart("denominators", state.UpdateBytes, PlannedKind.Counted)]);
        if (IsMeasured && config.IsAveraged)
            yield return new PlannedPhase("a measurement", [.. held, new PlannedPart("weights beside the average", state.Count * Type.Size() * (state.Held < state.Count ? 2 : 1))]) { IsBetweenSteps = true };
        if (samples.Count > 0)
            yield return new PlannedPhase("samples", [.. held, .. SampleWork(samples, state)]) { IsBetweenSteps = true };
        if (state.Held < state.Count)
            yield return new PlannedPhase("a checkpoint of process 0", [.. held, new PlannedPart("collected weights", state.Count * sizeof(float), OnHost: device.Type != DeviceType.Cpu)]) { IsBetweenSteps = true };
    }

    private PlannedPart[] Loaded(WeightSizes sizes) => config.FromScratch || !sizes.IsMapped(ElementType.Float32, device.Type)
        ? [new PlannedPart("weights as read", sizes.Bytes(ElementType.Float32))]
        : [new PlannedPart("weights as read", sizes.Bytes(ElementType.Float32), PlannedKind.Mapped)];

    private PlannedPart Weights(string name, WeightSizes sizes) =>
        new($"{name} ({Type})", sizes.Bytes(Type), sizes.IsMapped(Type, device.Type) ? PlannedKind.Mapped : PlannedKind.Exact);

    // Batches that are read ahead, and the one at work.
    private PlannedPart Prefetched()
    {
        var most = buckets.Max(each =>
        {
            var bucket = each.Bucket;
            var pixels = 3L * bucket.Width * bucket.Height * bucket.Frames;
            var latents = model.Transformer.LatentChannels * Latent(bucket).Positions * sizeof(float);
            var features = config.Captions == CaptionForm.Features ? TextTokens * model.Transformer.JointAttentionDim * sizeof(float) : 0;
            return config.Batch * (config.Input == DitInput.Media ? pixels : latents + features);
        });
        return new PlannedPart("items read ahead", most * (config.Data.Prefetch + 1), PlannedKind.Counted, OnHost: device.Type != DeviceType.Cpu);
    }

    // Either the VAE and the text encoders are at work, or the transformer.
    private IEnumerable<PlannedPart> Work()
    {
        var most = buckets.Max(each =>
        {
            var latent = Latent(each.Bucket) with { Rows = Rows };
            // The batch at every resolution, with noise and targets.
            var inputs = 6 * AllocatedBytes.Of(model.Transformer.LatentChannels * latent.Positions * sizeof(float), device.Type);
            return inputs + Peak(each.Bucket);
        });
        yield return new PlannedPart("activations of the transformer", config.Workers * Math.Max(most, Math.Max(EncodingWork(), EncodesText ? RunMemory.TextWork(model.T5, Type, Rows) : 0)), PlannedKind.Counted);
    }

    private long EncodingWork() => config.Input != DitInput.Media ? 0 : buckets.Max(each =>
    {
        var bucket = each.Bucket;
        var clips = new ClipBatchSize(Rows, bucket.Frames, bucket.Height, bucket.Width);
        var window = config.VaeWindow is { } frames && frames + 1 < bucket.Frames ? clips with { Frames = frames + 1 } : clips;
        // Pixels as they are read, and in the type of the VAE.
        var pixels = 3 * clips.Positions * (sizeof(float) + (Type == ElementType.Float32 ? 0 : Type.Size()));
        return pixels + new VaeActivations(model.Vae, Type, Type, device.Type, HasWindows: window != clips).Encoding(window);
    });

    private IEnumerable<PlannedPart> SampleWork(IReadOnlyList<GenerationSettings> clips, PlannedState state)
    {
        yield return new PlannedPart("weights beside the average", state.Count * Type.Size());
        if (config.Input != DitInput.Media)
            yield return Weights("VAE", model.VaeSizes());
        yield return new PlannedPart("sampling and decoding", Sampling(clips, model.Transformer, model.Vae, Type, device), PlannedKind.Counted);
    }

    /// <summary>Most bytes of a sheet of samples beside the models.</summary>
    internal static long Sampling(IReadOnlyList<GenerationSettings> clips, ITransformerConfig transformer, CausalVideoVaeConfig vae, ElementType type, Device device)
    {
        var sampler = new PipelineOptions { Type = type, Device = device }.Sampler with { HistoryBytes = HistoryPlan.DefaultBytes };
        return clips.Max(clip => Math.Max(
            RunMemory.TransformerWork(transformer, clip.Sampling, 0, type, sampler, device.Type) + HistoryPlan.Bytes(clip.Sampling, transformer, type, sampler),
            DecoderMemory.Peak(vae, new DecodedClip(clip.Sampling.Height, clip.Sampling.Width, clip.Sampling.First, clip.Sampling.FramesPerUnit, clip.Sampling.Frames),
                new PipelineOptions().DecodeWindow, null, byTile: false, type)));
    }

    private ClipBatchSize Latent(Bucket bucket) => new(config.Batch, VideoLength.Latents(bucket.Frames), bucket.Height / VideoLength.Scale, bucket.Width / VideoLength.Scale);

    // The most of all lengths that the stages train on in turn.
    private long Peak(Bucket bucket)
    {
        var training = new TransformerTraining(model.Transformer, Type, device.Type, config.CheckpointRatio, Trained(config.Lora));
        return Sequences(bucket, Rows).Max(stages => training.Peak(stages, model.Transformer.PooledProjectionDim));
    }

    /// <summary>What is trained of a transformer.</summary>
    internal static TrainedLayers Trained(LoraConfig? adapters)
    {
        return adapters is { } lora ? new TrainedLayers(false, layer => lora.Targets.Any(target => IsEnd(layer, target) || IsEnd(target, layer))) : TrainedLayers.Whole;

        static bool IsEnd(string key, string end) => key == end || key.EndsWith("." + end, StringComparison.Ordinal);
    }

    /// <summary>Products of a step in those of a pass forward: that pass, in backward two of trained weights and one of frozen ones, what is computed again, and the teacher's.</summary>
    internal static double Passes(LoopConfig config, LoraConfig? lora, DistillConfig? distill) => (lora is null ? 3 : 2) + config.CheckpointRatio + (distill?.MeanTeacherPasses ?? 0);

    /// <summary>A teacher beside its student. It is not mapped where its weights change between rounds, and counted as if they did.</summary>
    internal static PlannedPart TeacherWeights(WeightSizes sizes, ElementType type) => new($"teacher ({type})", sizes.Bytes(type));

    /// <summary>Bytes of a teacher in a state: that of a later round is the student of the one before.</summary>
    internal static long TeacherStateBytes(DistillConfig? distill, long trained, ElementType type) => distill is { RoundCount: > 1 } ? trained * type.Size() : 0;

    private double ProductsOf(Bucket bucket)
    {
        var passes = Passes(config, config.Lora, config.Distill);
        var text = EncodesText ? TextFlops.T5(model.T5, config.Batch, TextTokens) + model.Clips.Sum(clip => TextFlops.Clip(clip, config.Batch, clip.MaxPositionEmbeddings)) : 0;
        return text + Sequences(bucket, config.Batch).Average(stages => stages.Sum(stage => passes * DitFlops.Joint(model.Transformer, stage)));
    }

    // The stages of a batch that pass together, for each batch until the lengths repeat.
    private IEnumerable<IReadOnlyList<SequenceShape>> Sequences(Bucket bucket, int rows)
    {
        var lengths = new StageLengths { MaxTemporalLength = config.MaxTemporalLength, FramesPerUnit = config.FramePerUnit, SyncGroup = config.LengthGroup };
        var (latent, count) = (Latent(bucket), scheduler.Stages.Count);
        if (config.Objective != TemporalObjective.Autoregressive)
            return [Columns((_, stage) => [Size(stage, latent.Frames)])];
        var units = lengths.UnitsOf(latent.Frames);
        return Enumerable.Range(0, Math.Min(units, lengths.MaxUnits)).Select(batch =>
        {
            // One process takes all lengths in turn; several take the same ones side by side.
            var taken = lengths.At(batch, count, available: units);
            return Columns((_, stage) => Clips(taken[stage], stage));
        });

        IReadOnlyList<SequenceShape> Columns(Func<int, int, IReadOnlyList<ClipSize>> clips) =>
            [.. config.SampleRatios.SelectMany((ratio, stage) => Enumerable.Repeat(stage, ratio)).Select((stage, column) =>
                new SequenceShape(rows / config.SampleRatios.Sum(), TextTokens, clips(column, stage), model.Transformer.UseTemporalCausal))];

        // As FlowObjective deals them: the last of these units, and what lies before it.
        IReadOnlyList<ClipSize> Clips(int taken, int stage)
        {
            var end = 1 + ((long)(taken - 1) * config.FramePerUnit);
            return UnitAndHistory(end, stage, config.FramePerUnit, Size);
        }

        ClipSize Size(int level, long frames) => SizeAt(latent, count - 1 - level, frames);
    }

    /// <summary>The last unit of a clip, as a stage trains it, and what lies before it.</summary>
    /// <param name="end">Latent frames of the clip.</param>
    /// <param name="stage">The stage.</param>
    /// <param name="unit">Latent frames of a unit after the first.</param>
    /// <param name="size">Size of frames at a level.</param>
    internal static IReadOnlyList<ClipSize> UnitAndHistory(long end, int stage, int unit, Func<int, long, ClipSize> size)
    {
        var first = Math.Max(0, end - unit);
        var history = end > 1 && first > 0 ? LatentPyramid.HistoryRanges(first, stage, unit) : [];
        return [.. history.Select(clip => size(clip.Level, clip.Count)), size(stage, end - first)];
    }

    /// <summary>Tokens of latents that were halved some times.</summary>
    internal static ClipSize SizeAt(ClipBatchSize latent, int halvings, long frames)
    {
        var part = Patches.Size << halvings;
        return new ClipSize(frames, latent.Height / part, latent.Width / part);
    }
}
