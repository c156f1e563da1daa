using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Tests.Dit;
using PyramidFlow.Testing;

namespace PyramidFlow.Sprites.Tests.Dit;

public sealed class SpriteDitTrainerTests : IDisposable
{
    private static readonly SpriteDitConfig Config = new()
    {
        Transformer = SpriteRuns.Transformer,
        Clips = 3, LatentFrames = 3, Steps = 4, Batch = [2, 2, 2], Workers = 2, WarmUpSteps = 1, CheckpointEvery = 100,
    };

    private readonly SpriteRuns runs = new();

    public void Dispose() => runs.Dispose();

    [Theory]
    [InlineData(SpriteOptimizer.AdamW)]
    [InlineData(SpriteOptimizer.Muon)]
    public void An_interrupted_run_ends_in_the_bits_of_an_uninterrupted_one(SpriteOptimizer optimizer) =>
        runs.AssertStopsWithoutATrace(Config with { Optimizer = optimizer }, null, "state-00000004.safetensors", "diffusion_transformer/diffusion_pytorch_model.safetensors");

    [Fact]
    public void The_mmdit_trains_too_and_its_weights_are_whole()
    {
        var transformer = new PyramidMmditConfig(16, 2, 16, 2, CaptionProjectionDim: 32, WordlessPrompts.Width, WordlessPrompts.Width, PosEmbedMaxSize: 16);
        var config = Config with { Transformer = transformer, Steps = 2 };
        using var data = runs.Latents(config);
        runs.Train(config, data, "mmdit");
        using var generator = new RandomGenerator((ulong)config.Seed);
        using var fresh = transformer.Build();
        fresh.Initialize(generator);
        using var trained = transformer.Build();
        using (var weights = SafetensorsFile.Open(runs.File("mmdit", "diffusion_transformer/diffusion_pytorch_model.safetensors")))
            trained.Load(weights);
        foreach (var ((key, before), (_, after)) in fresh.NamedParameters().Zip(trained.NamedParameters()))
        {
            if (!before.Trainable)
                Assert.Equal(before.Value.ToArray<float>(), after.Value.ToArray<float>());
            else if (key == "proj_out.weight")
                Assert.NotEqual(before.Value.ToArray<float>(), after.Value.ToArray<float>());
        }
    }

    [Fact]
    public void Full_sequence_training_shows_the_network_whole_clips_and_counts_their_operations()
    {
        var transformer = SpriteRuns.Transformer with { UseTemporalCausal = false };
        var config = Config with
        {
            Transformer = transformer,
            Objective = SpriteObjective.FullSequence,
            Batch = [2],
            Workers = 1,
            ImageShare = 0,
            Steps = 20,
            KeepSteps = [20],
        };
        using var data = runs.Latents(config);
        runs.Train(config, data, "whole");

        using var metrics = JsonDocument.Parse(File.ReadAllText(runs.File("whole", "metrics.jsonl")));
        var shape = new SequenceShape(2, 1, [new ClipSize(config.LatentFrames, 8, 8)], Causal: false);
        Assert.Equal(20 * DitFlops.Training(transformer, shape), metrics.RootElement.GetProperty("flops").GetInt64());
        Assert.Equal(DitFlops.Training(transformer, shape), new SpriteDitPlan(config, CausalVideoVaeConfig.Released, ranks: 1) { TextTokens = 1 }.Compute().Products);
        Assert.False(metrics.RootElement.TryGetProperty("loss_1", out _));
        Assert.Equal(File.ReadAllBytes(runs.File("whole", "diffusion_transformer/diffusion_pytorch_model.safetensors")), File.ReadAllBytes(runs.File("whole", "dit-20.safetensors")));
    }

    [Fact]
    public void A_state_of_another_configuration_is_refused()
    {
        var config = Config with { Steps = 1 };
        using var data = runs.Latents(config);
        runs.Train(config, data, "run");
        var error = Assert.Throws<CheckpointException>(() => runs.Train(config with { Seed = 2 }, data, "run"));
        FaultAssert.Is(error, "state_of_other_run", ("file", runs.File("run", "state-00000001.safetensors")));
    }

    [Theory]
    [InlineData(SpriteObjective.Pyramid)]
    [InlineData(SpriteObjective.FullSequence)]
    public void Held_out_clips_are_other_ones_and_are_measured_the_same_after_a_stop(SpriteObjective objective)
    {
        var config = Config with { HeldOut = 2, CheckpointEvery = 2 };
        if (objective == SpriteObjective.FullSequence)
            config = config with { Objective = objective, Batch = [2], Transformer = SpriteRuns.Transformer with { UseTemporalCausal = false } };
        using var scope = new TensorScope();
        using var data = runs.Latents(config);
        using var heldOut = runs.HeldOut(config);
        Assert.Equal((2, 3), (heldOut.Count, heldOut.Frames));
        Assert.Equal(SpriteWorld.Scene(config.Seed, 4).Attributes, heldOut.One(1, 3).Attributes);
        var latents = runs.Encoder.Encode(SpriteClips.RenderChannelsLast(SpriteWorld.Scene(config.Seed, 4), 17)).Permute(0, 4, 1, 2, 3);
        Assert.InRange((latents - heldOut.One(1, 3).Latents).Abs().Max().Item(), 0, 1e-2);

        var threads = TorchRuntime.Threads;
        TorchRuntime.Threads = 1;
        runs.Train(config, data, "whole", heldOut: heldOut);

        // 16 rows are encoded at the start, then two workers encode for each stage of a step: this is within the second step.
        using var stop = new CancellationTokenSource();
        var encodings = 0;
        runs.Train(config, data, "parts", encoded: () => StopAt(Interlocked.Increment(ref encodings)), stop: stop, heldOut: heldOut);
        runs.Train(config, data, "parts", heldOut: heldOut);
        TorchRuntime.Threads = threads;
        Assert.Equal([0, 2, 4], Losses("whole").Select(line => line.Step));
        Assert.Equal(objective == SpriteObjective.Pyramid ? 4 : 2, Losses("whole")[0].Values.Length);
        Assert.Equal(Losses("whole"), Losses("parts"), (a, b) => a.Step == b.Step && a.Values.SequenceEqual(b.Values));
        foreach (var file in new[] { "state-00000004.safetensors", "best/diffusion_transformer/diffusion_pytorch_model.safetensors", "best/run.json" })
            Assert.Equal(File.ReadAllBytes(runs.File("whole", file)), File.ReadAllBytes(runs.File("parts", file)));

        void StopAt(int encoding)
        {
            if (encoding == 16 + (objective == SpriteObjective.Pyramid ? 8 : 3))
                stop.Cancel();
        }

        List<(long Step, double[] Values)> Losses(string name) => [.. File.ReadLines(runs.File(name, "metrics.jsonl"))
            .Select(line => JsonElement.Parse(line)).Where(line => line.TryGetProperty("held_out_loss", out _))
            .Select(line => (line.GetProperty("step").GetInt64(), line.EnumerateObject().Where(member => member.Name.StartsWith("held_out_loss", StringComparison.Ordinal))
                .Select(member => member.Value.GetDouble()).ToArray()))];
    }

    [Fact]
    public void Latents_are_made_once_and_read_as_they_were_written()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var made = runs.Latents(Config);
        var written = File.GetLastWriteTimeUtc(runs.File("latents.safetensors"));
        using var read = runs.Latents(Config);
        Assert.Equal(written, File.GetLastWriteTimeUtc(runs.File("latents.safetensors")));
        Assert.Equal((3, 3), (read.Count, read.Frames));
        var (expected, attributes) = made.Draw(new KeyedRandom(1), 4, frames: 2);
        var (actual, again) = read.Draw(new KeyedRandom(1), 4, frames: 2);
        Assert.Equal([4, 16, 2, 16, 16], actual.Shape);
        Assert.Equal(expected.ToArray<float>(), actual.ToArray<float>());
        Assert.Equal(attributes, again);

        var clip = Enumerable.Range(0, 3).First(i => SpriteWorld.Scene(Config.Seed, i).Attributes == attributes[0]);
        var latents = runs.Encoder.Encode(SpriteClips.RenderChannelsLast(SpriteWorld.Scene(Config.Seed, clip), 17)).Permute(0, 4, 1, 2, 3);
        Assert.InRange((latents.Narrow(2, 0, 2) - actual.Narrow(0, 0, 1)).Abs().Max().Item(), 0, 1e-2);
    }

    [Fact]
    public void Latents_of_another_size_seed_or_kind_are_refused()
    {
        runs.Latents(Config).Dispose();
        foreach (var config in new[] { Config with { Clips = 4 }, Config with { LatentFrames = 2 }, Config with { Seed = 2 }, Config with { TurnShare = 1 } })
            FaultAssert.Is(Assert.Throws<CheckpointException>(() => runs.Latents(config)), "cache_of_other_clips", ("file", runs.File("latents.safetensors")));
    }

    [Fact]
    public void The_prompt_of_a_clip_that_turns_changes_with_it()
    {
        var config = Config with { Clips = 1, LatentFrames = 5, TurnShare = 1 };
        using var data = runs.Latents(config);
        var turn = SpriteTurn.Training(config.Seed, 0, config.TurnShare)!.Value;
        var shown = Enumerable.Range(1, config.LatentFrames)
            .Select(frames => data.Draw(new KeyedRandom(1), 1, frames).Attributes[0]);
        Assert.Equal(Enumerable.Range(0, config.LatentFrames).Select(unit => (8 * unit) - 7 < turn.Frame ? turn.Before : turn.After), shown);
        var latents = data.Draw(new KeyedRandom(1), 1, config.LatentFrames).Latents;
        var expected = runs.Encoder.Encode(SpriteClips.ChannelsLast(turn.Render(33))).Permute(0, 4, 1, 2, 3);
        Assert.InRange((latents - expected).Abs().Max().Item(), 0, 1e-2);
    }

    [Fact]
    public void Shapes_are_drawn_by_their_shares()
    {
        var config = Config with { Clips = 24, LatentFrames = 2, ShapeShares = [1, 0, 0, 3] };
        using var data = runs.Latents(config);
        var shapes = data.Draw(new KeyedRandom(1), 400, frames: 1).Attributes.CountBy(a => a.Shape).ToDictionary();
        Assert.Equal([SpriteShape.Circle, SpriteShape.Star], shapes.Keys.Order());
        Assert.InRange(shapes[SpriteShape.Star], 270, 330);
    }

    [Fact]
    public void A_share_of_a_shape_that_no_clip_shows_is_refused() =>
        FaultAssert.Is(Assert.Throws<TrainingException>(() => runs.Latents(Config with { Clips = 3, ShapeShares = [1, 1, 1, 1] })), "shape_without_clip", ("clips", 3));
}
