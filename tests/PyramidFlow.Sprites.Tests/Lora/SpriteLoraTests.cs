using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Tests.Dit;
using PyramidFlow.Testing;

namespace PyramidFlow.Sprites.Tests.Lora;

public sealed class SpriteLoraTests : IDisposable
{
    private const string Base = "base.safetensors";

    private static readonly SpriteDitConfig Config = new()
    {
        Transformer = SpriteRuns.Transformer,
        Lora = new LoraConfig { Rank = 2, Alpha = 4, Targets = ["to_q", "to_v", "context_embedder"] },
        ExtraColour = SpriteColour.Pink, ExtraColourShare = 0.5,
        Clips = 6, LatentFrames = 2, Steps = 4, Batch = [2, 2, 2], Workers = 2, WarmUpSteps = 1, CheckpointEvery = 100,
    };

    private readonly SpriteRuns runs = new();

    public SpriteLoraTests()
    {
        RandomBase.Write(runs.File(Base), Config.Transformer, seed: 5);
        RandomBase.Write(runs.File("other.safetensors"), Config.Transformer, seed: 6);
    }

    public void Dispose() => runs.Dispose();

    [Theory]
    [InlineData(TrainingPrecision.Float32)]
    [InlineData(TrainingPrecision.Bfloat16)]
    public void An_interrupted_run_ends_in_the_bits_of_an_uninterrupted_one(TrainingPrecision precision) =>
        runs.AssertStopsWithoutATrace(Config with { Precision = precision }, Base, "state-00000004.safetensors", LoraFile.Name);

    [Fact]
    public void The_file_is_of_the_named_layers_and_changes_the_model_it_was_trained_on()
    {
        using var data = runs.Latents(Config);
        runs.Train(Config, data, "run", Base);
        using var file = SafetensorsFile.Open(runs.File("run", LoraFile.Name));
        Assert.Equal(
            ["context_embedder", "single_transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.attn.to_v", "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_v"],
            file.Entries.Keys.Where(key => key.EndsWith(".lora_A.weight", StringComparison.Ordinal)).Select(key => key["transformer.".Length..^".lora_A.weight".Length]).Order(StringComparer.Ordinal));
        Assert.Equal([2, 16], file.Entries["transformer.context_embedder.lora_A.weight"].Shape);

        using var scope = new TensorScope();
        using var model = Config.Transformer.Build();
        using (var weights = SafetensorsFile.Open(runs.File(Base)))
            model.Load(weights);
        var before = model.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter.Value.ToArray<float>());
        LoraFile.Merge(model, runs.File("run", LoraFile.Name));
        var changed = model.NamedParameters().Where(p => !p.Parameter.Value.ToArray<float>().SequenceEqual(before[p.Key])).Select(p => p.Key).ToList();
        Assert.Contains("context_embedder.weight", changed);
        Assert.All(changed, key => Assert.Contains(Config.Lora!.Targets, target => key.EndsWith($"{target}.weight", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_state_of_another_base_rank_or_strength_is_refused()
    {
        var config = Config with { Steps = 1 };
        using var data = runs.Latents(config);
        runs.Train(config, data, "run", Base);
        Refused(() => runs.Train(config, data, "run", "other.safetensors"));
        Refused(() => runs.Train(config with { Lora = config.Lora! with { Rank = 3 } }, data, "run", Base));
        Refused(() => runs.Train(config with { Lora = config.Lora! with { Alpha = 2 } }, data, "run", Base));

        static void Refused(Action train) =>
            FaultAssert.Is(Assert.Throws<CheckpointException>(train), "state_of_other_run");
    }

    [Fact]
    public void Half_of_the_clips_have_the_extra_colour_and_captions_know()
    {
        var config = Config with { Clips = 20 };
        using var data = runs.Latents(config);
        var extra = new SpriteExtraColour(SpriteColour.Pink, 0.5);
        var expected = Enumerable.Range(0, 20).Select(i => extra.Paint(SpriteWorld.Scene(config.Seed, i), config.Seed, i).Attributes).ToHashSet();
        using var scope = new TensorScope();
        var (_, shown) = data.Draw(new KeyedRandom(1), 200, frames: 1);
        Assert.Subset(expected, shown.ToHashSet());
        Assert.InRange(shown.Count(a => a.Colour == SpriteColour.Pink), 40, 160);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => runs.Latents(config with { ExtraColour = null })), "cache_of_other_clips", ("key", "extra_colour"), ("wanted", null));
    }
}
