using PyramidFlow.Lora;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Runs;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Training.Tests.Dit;
using PyramidFlow.Training.Vae;
using PyramidFlow.Transformers;

namespace PyramidFlow.Training.Tests.Lora;

public sealed class LoraTrainingTests : IDisposable
{
    private static readonly DitTrainingConfig Config = new()
    {
        Transformer = new PyramidFluxConfig(64, 1, 1, 16, 2, WordlessPrompts.Width, WordlessPrompts.Width, [4, 6, 6]),
        Lora = new LoraConfig { Rank = 2, Alpha = 4, Targets = ["to_q", "to_v", "context_embedder"] },
        ExtraColour = SpriteColour.Pink, ExtraColourShare = 0.5,
        Clips = 6, LatentFrames = 2, Steps = 4, Batch = [2, 2, 2], Workers = 2, WarmUpSteps = 1, CheckpointEvery = 100,
    };

    private readonly TemporaryFolder folder = new();
    private readonly LinearAutoencoder encoder = new([16, 32, 64], 16);

    public LoraTrainingTests()
    {
        using var generator = new RandomGenerator(1);
        encoder.Initialize(generator);
        WriteBase("base.safetensors", seed: 5);
        WriteBase("other.safetensors", seed: 6);
    }

    public void Dispose()
    {
        encoder.Dispose();
        folder.Dispose();
    }

    [Theory]
    [InlineData(TrainingPrecision.Float32)]
    [InlineData(TrainingPrecision.Bfloat16)]
    public void An_interrupted_run_ends_in_the_bits_of_an_uninterrupted_one(TrainingPrecision precision)
    {
        var config = Config with { Precision = precision };
        var threads = TorchRuntime.Threads;
        TorchRuntime.Threads = 1;
        using var data = Latents(config);
        Train(config, data, "whole");

        using var stop = new CancellationTokenSource();
        var encodings = 0;
        Train(config, data, "parts", encoded: () => Stop(stop, Interlocked.Increment(ref encodings) == 8), stop: stop);
        Train(config, data, "parts");
        TorchRuntime.Threads = threads;

        foreach (var file in new[] { "state-00000004.safetensors", "lora.safetensors" })
            Assert.Equal(File.ReadAllBytes(folder.File("whole", file)), File.ReadAllBytes(folder.File("parts", file)));
    }

    [Fact]
    public void The_file_is_of_the_named_layers_and_changes_the_model_it_was_trained_on()
    {
        using var data = Latents(Config);
        Train(Config, data, "run");
        using var file = SafetensorsFile.Open(folder.File("run", "lora.safetensors"));
        Assert.Equal(
            ["context_embedder", "single_transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.attn.to_v", "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_v"],
            file.Entries.Keys.Where(key => key.EndsWith(".lora_A.weight", StringComparison.Ordinal)).Select(key => key["transformer.".Length..^".lora_A.weight".Length]).Order(StringComparer.Ordinal));
        Assert.Equal([2, 16], file.Entries["transformer.context_embedder.lora_A.weight"].Shape);

        using var scope = new TensorScope();
        using var model = Config.Transformer.Build();
        using (var weights = new SafetensorsSource(folder.File("base.safetensors")))
            model.Load(weights);
        var before = model.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter.Value.ToArray<float>());
        LoraFile.Merge(model, folder.File("run", "lora.safetensors"));
        var changed = model.NamedParameters().Where(p => !p.Parameter.Value.ToArray<float>().SequenceEqual(before[p.Key])).Select(p => p.Key).ToList();
        Assert.Contains("context_embedder.weight", changed);
        Assert.All(changed, key => Assert.Contains(Config.Lora!.Targets, target => key.EndsWith($"{target}.weight", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_state_of_another_base_rank_or_strength_is_refused()
    {
        var config = Config with { Steps = 1 };
        using var data = Latents(config);
        Train(config, data, "run");
        Refused(() => Train(config, data, "run", weights: "other.safetensors"));
        Refused(() => Train(config with { Lora = config.Lora! with { Rank = 3 } }, data, "run"));
        Refused(() => Train(config with { Lora = config.Lora! with { Alpha = 2 } }, data, "run"));

        static void Refused(Action train) =>
            Assert.Contains("another configuration", Assert.Throws<CheckpointException>(train).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Half_of_the_clips_have_the_extra_colour_and_captions_know()
    {
        var config = Config with { Clips = 20 };
        using var data = Latents(config);
        var extra = new SpriteExtraColour(SpriteColour.Pink, 0.5);
        var expected = Enumerable.Range(0, 20).Select(i => extra.Paint(SpriteWorld.Scene(config.Seed, i), config.Seed, i).Attributes).ToHashSet();
        using var scope = new TensorScope();
        var (_, shown) = data.Draw(new SpriteRandom(1), 200, frames: 1);
        Assert.Subset(expected, shown.ToHashSet());
        Assert.InRange(shown.Count(a => a.Colour == SpriteColour.Pink), 40, 160);
        Assert.Contains("delete it", Assert.Throws<CheckpointException>(() => Latents(config with { ExtraColour = null })).Message, StringComparison.Ordinal);
    }

    private static void Stop(CancellationTokenSource source, bool now)
    {
        if (now)
            source.Cancel();
    }

    private void WriteBase(string name, ulong seed)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(seed);
        using var model = Config.Transformer.Build();
        model.Initialize(generator);
        // Read-out and modulation start at zero, behind which nothing learns at first.
        SafetensorsWriter.Write(folder.File(name), model.NamedParameters().Select(p => (p.Key, p.Parameter.Value + (Tensor.Randn(p.Parameter.Shape, generator) * 0.1))));
    }

    private SpriteLatents Latents(DitTrainingConfig config) =>
        SpriteLatents.OpenOrMake(folder.File("latents.safetensors"), config, video => encoder.Encode(video).Permute(0, 4, 1, 2, 3), null, CancellationToken.None);

    private void Train(DitTrainingConfig config, SpriteLatents data, string name, string weights = "base.safetensors", Action? encoded = null, CancellationTokenSource? stop = null)
    {
        using var prompts = new WordlessPrompts(encoded);
        using var trainer = new DitTrainer(config, Path.Combine(folder.Path, name), data, prompts, () => new SafetensorsSource(folder.File(weights)));
        trainer.Run(null, stop?.Token ?? CancellationToken.None);
    }
}
