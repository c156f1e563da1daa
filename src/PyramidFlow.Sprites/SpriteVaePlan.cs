using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Sprites;

/// <summary>Plans a VAE's training in the sprites world (<see cref="TrainingPlan"/>): the decoder by error of pixels. The linear maps before it take less.</summary>
/// <param name="config">The configuration.</param>
/// <param name="ranks">Processes.</param>
internal sealed class SpriteVaePlan(SpriteVaeConfig config, int ranks)
{
    private const int TrainedPasses = 3;

    /// <summary>Computes the plan.</summary>
    public TrainingPlan Compute()
    {
        using var declared = SpriteVaeTrainer.FreezeEncoder(new CausalVideoVae(config.Vae));
        var trained = declared.NamedParameters().Where(p => p.Parameter.Trainable).Sum(p => p.Parameter.ElementCount);
        var frozen = declared.ParameterCount() - trained;
        var state = new PlannedState(trained, config.ComputeType, config, ranks, Device.Cpu);
        var decoded = VaeFlops.Decode(config.Vae, VideoLength.Latents(config.Frames), config.Crop / VideoLength.Scale, config.Crop / VideoLength.Scale);
        return new TrainingPlan
        {
            Ranks = ranks,
            Device = Device.Cpu,
            Phases = [.. Phases(state, frozen)],
            Weights = trained,
            Products = 0,
            Convolutions = config.MeanMicroBatches(ranks) * TrainedPasses * config.Batch * (double)decoded / (config.BatchesPerStep is null ? ranks : 1),
            SentBytes = state.SentBytes,
            StateBytes = state.StateBytes,
            States = PlannedState.StatesOf(config),
            KeepsBest = false,
            PublishedBytes = (trained + frozen) * sizeof(float),
            SampleBytes = 0,
            Largest = FormattableString.Invariant($"{config.Crop}x{config.Crop}, {config.Frames} frames"),
        };
    }

    private IEnumerable<PlannedPhase> Phases(PlannedState state, long frozen)
    {
        List<PlannedPart> held = [new("program", RunMemory.Base, PlannedKind.Counted), new("frozen weights", frozen * sizeof(float) * config.Workers), .. state.Parts()];
        var rows = Math.Max(1, config.Batch / config.Workers / (config.BatchesPerStep is null ? ranks : 1));
        var clips = new ClipBatchSize(rows, config.Frames, config.Crop, config.Crop);
        var loss = LossMemory.Of(clips, perceptual: null, discriminator: null, DeviceType.Cpu);
        var work = new VaeActivations(config.Vae, config.ComputeType, config.ComputeType, DeviceType.Cpu).Training(clips, trainsEncoder: false, loss);
        yield return new PlannedPhase("a step", [.. held, new PlannedPart("activations of the VAE", config.Workers * work, PlannedKind.Counted)]);

        // Whole frames of a clip at once.
        var seen = clips with { Rows = 1, Height = SpriteWorld.Height, Width = SpriteWorld.Width };
        var (height, width, latents) = (SpriteWorld.Height / VideoLength.Scale, SpriteWorld.Width / VideoLength.Scale, VideoLength.Latents(config.Frames));
        var decoding = DecoderMemory.Peak(config.Vae, new DecodedClip(height, width, latents, latents, latents), latents, null, byTile: false, config.ComputeType);
        var encoding = new VaeActivations(config.Vae, config.ComputeType, config.ComputeType, DeviceType.Cpu).Encoding(seen);
        yield return new PlannedPhase("a measurement",
        [
            .. held, new PlannedPart("weights beside the average", config.IsAveraged ? state.Count * config.ComputeType.Size() : 0),
            new PlannedPart("a clip through the VAE", Math.Max(encoding, decoding), PlannedKind.Counted),
        ])
        { IsBetweenSteps = true };
        if (state.Held < state.Count)
            yield return new PlannedPhase("a checkpoint of process 0", [.. held, new PlannedPart("collected weights", state.Count * sizeof(float))]) { IsBetweenSteps = true };
    }
}
