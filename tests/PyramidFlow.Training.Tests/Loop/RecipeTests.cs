using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Training.Tests.Loop;

public sealed class RecipeTests
{
    [Theory]
    [InlineData("vae-stage1.json", 17, 1)]
    [InlineData("vae-stage2.json", 33, 2)]
    public void The_recipes_of_the_VAE_are_the_released_scripts(string name, int frames, int windows)
    {
        var config = VaeConfig.Load(CommittedConfig.Path(name));
        Assert.True(TrainingConfigFile.HasDataSection(CommittedConfig.Path(name)));
        Assert.Equal((frames, windows), (Assert.Single(config.Data.Frames!), config.Windows));
        Assert.Equal((200_000, 2000, 1e-4, 1e-5, 1e-3), (config.Steps, config.WarmUpSteps, config.LearningRate, config.FinalLearningRate, config.WeightDecay));
        Assert.Equal((10.0, 1.0, 1e-12, 250_000, 0.5), (config.PixelWeight, config.PerceptualWeight, config.KlWeight, config.Discriminator!.Start, config.Discriminator.Weight));
        Assert.Equal(frames, TimeWindows.Split(frames, windows, 8).Sum(window => window.Length));
    }

    [Theory]
    [InlineData("miniflux-384p.json", "384p", 0)]
    [InlineData("miniflux-768p.json", "768p", 0.75)]
    [InlineData("sd3-384p.json", "384p", 0)]
    [InlineData("sd3-768p.json", "768p", 0.75)]
    public void The_recipes_of_fine_tuning_are_the_released_script(string name, string variant, double checkpoints)
    {
        var config = DitConfig.Load(CommittedConfig.Path(name));
        Assert.True(TrainingConfigFile.HasDataSection(CommittedConfig.Path(name)));
        Assert.Equal((variant, checkpoints, DitInput.Latents, TemporalObjective.Autoregressive), (config.Variant, config.CheckpointRatio, config.Input, config.Objective));
        Assert.Equal((40_000, 1000, 5e-5, 1e-4, 1.0), (config.Steps, config.WarmUpSteps, config.LearningRate, config.WeightDecay, config.ClipNorm));
        Assert.Equal((4, 2, 8, 16), (config.Batch, config.Accumulation, config.VideoSyncGroup, config.MaxTemporalLength));
    }

    [Fact]
    public void The_recipe_without_temporal_pyramid_is_the_released_script()
    {
        var config = DitConfig.Load(CommittedConfig.Path("miniflux-image-768p.json"));
        Assert.Equal((TemporalObjective.FullSequence, 1e-4, 1, 4), (config.Objective, config.LearningRate, config.Accumulation, config.Batch));
    }

    [Fact]
    public void The_recipe_of_a_lora_fits_the_released_transformer()
    {
        var config = DitConfig.Load(CommittedConfig.Path("lora-miniflux-384p.json"));
        Assert.Equal((16, 1.0, "384p", 500), (config.Lora!.Rank, config.Lora.Scale, config.Variant, config.SampleEvery));
        var released = new PyramidFluxConfig(InChannels: 64, NumLayers: 8, NumSingleLayers: 16, AttentionHeadDim: 64, NumAttentionHeads: 30, JointAttentionDim: 4096, PooledProjectionDim: 768);
        using var model = released.Build();
        Assert.Equal((3 * 24) + 8, LoraAdapters.Layers(model, config.Lora).Count);
    }

    [Fact]
    public void Recipes_of_the_sprites_world_name_no_data()
    {
        foreach (var path in Directory.EnumerateFiles(Path.GetDirectoryName(CommittedConfig.Path("sprites-vae.json"))!, "sprites-*.json"))
            Assert.False(TrainingConfigFile.HasDataSection(path), path);
    }
}
