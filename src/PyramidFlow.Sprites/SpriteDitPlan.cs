using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Sprites;

/// <summary>Plans a transformer's training in the sprites world (<see cref="TrainingPlan"/>), from its configuration alone.</summary>
/// <param name="config">The configuration.</param>
/// <param name="vae">The VAE that samples are decoded with.</param>
/// <param name="ranks">Processes.</param>
/// <param name="teacher">The teacher of a distillation; null has none.</param>
internal sealed class SpriteDitPlan(SpriteDitConfig config, CausalVideoVaeConfig vae, int ranks, Teacher? teacher = null)
{
    // Latents in the cache are half of a float32.
    private const int CachedSize = 2;

    // Two small text encoders with their vocabularies, in float32.
    private const long TextBytes = 5L << 20;

    private readonly ClipBatchSize latent = new(1, config.LatentFrames, SpriteWorld.Height / VideoLength.Scale, SpriteWorld.Width / VideoLength.Scale);

    /// <summary>Text tokens of a batch, which are those of its longest caption.</summary>
    public int TextTokens { get; init; } = 14;

    private bool IsWhole => config.Objective == SpriteObjective.FullSequence;

    /// <summary>Computes the plan.</summary>
    public TrainingPlan Compute()
    {
        var sizes = WeightSizes.Of(config.Transformer.Build(), null);
        var (tables, clips) = (DitModel.Tables(config.Transformer), TransformerSamples.Resolve(config.Samples, SpriteTraining.SettingsOf(config, teacher)));
        var trained = config.Lora is { } lora ? DitModel.Adapters(config.Transformer, lora) : sizes.Count - tables;
        var state = new PlannedState(trained, config.ComputeType, config, ranks, Device.Cpu);
        var published = (trained + (config.Lora is null ? tables : 0)) * sizeof(float);
        return new TrainingPlan
        {
            Ranks = ranks,
            Device = Device.Cpu,
            Phases = [.. Phases(sizes, state, clips)],
            Weights = trained,
            Products = config.MeanMicroBatches(ranks) * Enumerable.Range(0, config.Batch.Count).Sum(ProductsOf) / (config.BatchesPerStep is null ? ranks : 1),
            Convolutions = 0,
            SentBytes = state.SentBytes,
            StateBytes = state.StateBytes + DitPlan.TeacherStateBytes(config.Distill, trained, config.ComputeType),
            States = PlannedState.StatesOf(config),
            KeepsBest = config.KeepBest && HeldOut > 0,
            PublishedBytes = published,
            // The caches of latents, and weights of some steps.
            OtherBytes = CacheBytes(config.Clips + HeldOut) + (config.KeepSteps.Count(step => step <= config.Steps) * published) + TextBytes,
            SampleBytes = config.SampleEvery > 0 && clips.Count > 0 ? config.Steps / config.SampleEvery * ContactSheet.Bytes(clips.Count, clips[0].Width, clips[0].Height) : 0,
            Largest = FormattableString.Invariant($"{SpriteWorld.Width}x{SpriteWorld.Height}, {VideoLength.OfLatents(config.LatentFrames)} frames"),
        };
    }

    private int HeldOut => config.HeldOutOf(config.Clips);

    private long CacheBytes(long clips) => clips * config.Transformer.LatentChannels * latent.Positions * CachedSize;

    private IEnumerable<PlannedPhase> Phases(WeightSizes sizes, PlannedState state, IReadOnlyList<GenerationSettings> clips)
    {
        PlannedPart program = new("program", RunMemory.Base, PlannedKind.Counted);
        // All clips are encoded in memory before their file is written.
        yield return new PlannedPhase("encoding clips", [program, new PlannedPart("latents of the clips", CacheBytes(config.Clips))]);
        List<PlannedPart> held = [program, new("text encoders", TextBytes, PlannedKind.Counted), new("latents of the clips", CacheBytes(config.Clips + HeldOut), PlannedKind.Mapped)];
        if (config.Lora is not null)
            held.Add(new PlannedPart("frozen weights", sizes.Bytes(config.ComputeType)));
        if (config.Distill is not null)
            held.Add(DitPlan.TeacherWeights(sizes, config.ComputeType));
        yield return new PlannedPhase("loading", [.. held, .. config.Lora is null ? [new PlannedPart("weights as read", sizes.Bytes(ElementType.Float32))] : Array.Empty<PlannedPart>(), .. state.Parts().Take(1)]);
        held.AddRange(state.Parts());
        yield return new PlannedPhase("a step", [.. held, new PlannedPart("activations of the transformer", config.Workers * Enumerable.Range(0, config.Batch.Count).Max(Work), PlannedKind.Counted)]);
        if (HeldOut > 0 && config.IsAveraged)
            yield return new PlannedPhase("a measurement", [.. held, new PlannedPart("weights beside the average", state.Count * config.ComputeType.Size())]) { IsBetweenSteps = true };
        if (clips.Count > 0)
        {
            yield return new PlannedPhase("samples",
            [
                .. held, new PlannedPart("weights beside the average", state.Count * config.ComputeType.Size()),
                new PlannedPart("VAE", WeightSizes.Of(new CausalVideoVae(vae), null).Bytes(config.ComputeType)),
                new PlannedPart("sampling and decoding", DitPlan.Sampling(clips, config.Transformer, vae, config.ComputeType, Device.Cpu), PlannedKind.Counted),
            ])
            { IsBetweenSteps = true };
        }

        if (state.Held < state.Count)
            yield return new PlannedPhase("a checkpoint of process 0", [.. held, new PlannedPart("collected weights", state.Count * sizeof(float))]) { IsBetweenSteps = true };
    }

    // The stages of a worker's part of a batch come one after another.
    private long Work(int stage)
    {
        var rows = Math.Max(1, config.Batch[stage] / config.Workers / (config.BatchesPerStep is null ? ranks : 1));
        var training = new TransformerTraining(config.Transformer, config.ComputeType, DeviceType.Cpu, config.CheckpointRatio, DitPlan.Trained(config.Lora));
        var inputs = 6 * AllocatedBytes.Of(config.Transformer.LatentChannels * rows * latent.Positions * sizeof(float), DeviceType.Cpu);
        return inputs + Lengths.Append(1).Max(frames => training.Peak([Sequence(stage, rows, frames)], config.Transformer.PooledProjectionDim));
    }

    // Of a batch of all processes.
    private double ProductsOf(int stage)
    {
        var passes = DitPlan.Passes(config, config.Lora, config.Distill);
        var first = Math.Min(config.ImageSteps, config.Steps);
        var images = (first + (config.ImageShare * (config.Steps - first))) / config.Steps;
        return passes * ((images * Pass(1)) + ((1 - images) * Lengths.Average(Pass)));

        double Pass(int frames) => DitFlops.Joint(config.Transformer, Sequence(stage, config.Batch[stage], frames));
    }

    // Latent frames that clips are drawn with, equally often (ClipObjective).
    private IEnumerable<int> Lengths => IsWhole ? [config.LatentFrames] : Enumerable.Range(2, config.LatentFrames - 1);

    private SequenceShape Sequence(int stage, int rows, int frames) =>
        new(rows, TextTokens, IsWhole ? [Size(stage, frames)] : DitPlan.UnitAndHistory(frames, stage, 1, Size), config.Transformer.UseTemporalCausal);

    private ClipSize Size(int level, long frames) => DitPlan.SizeAt(latent, config.Batch.Count - 1 - level, frames);
}
