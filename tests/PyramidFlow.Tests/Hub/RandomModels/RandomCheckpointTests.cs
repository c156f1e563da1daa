using PyramidFlow.Models;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Hub.RandomModels;

public sealed class RandomCheckpointTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("miniflux")]
    [InlineData("sd3")]
    [InlineData(RandomLayout.Sprites)]
    public async Task A_tiny_one_runs_and_its_frames_are_no_accident(string layout)
    {
        using var folder = new TemporaryFolder();
        RandomCheckpoint.Write(folder.Path, new RandomOptions(layout, RandomScale.Tiny, Seed: 5), cancellationToken: Cancel);
        Assert.All(CheckpointReport.Create(CheckpointFolder.Open(folder.Path), cancellationToken: TestContext.Current.CancellationToken).Variants, variant => Assert.Empty(variant.Faults));
        using var pipeline = VideoPipeline.Load(folder.Path);
        using var latents = pipeline.GenerateLatents(new GenerationOptions { Prompt = "a red ball falling", Seed = 1 }, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal([1, layout == RandomLayout.Sprites ? 16 : 4, 2, 8, 8], latents.Shape);
        Assert.All(latents.ToArray<float>(), value => Assert.True(float.IsFinite(value)));
        var frames = new List<byte>();
        await foreach (var chunk in pipeline.GenerateAsync(new GenerationOptions { Prompt = "a red ball falling", Seed = 1 }, cancellationToken: TestContext.Current.CancellationToken))
            frames.AddRange(chunk.Rgb.ToArray());
        Assert.Equal(9 * 64 * 64 * 3, frames.Count);
        Assert.True(frames.Distinct().Count() > 20);
    }

    [Fact]
    public void The_text_encoder_lies_in_shards_as_released()
    {
        using var folder = new TemporaryFolder();
        RandomCheckpoint.Write(folder.Path, new RandomOptions("miniflux", RandomScale.Tiny), cancellationToken: Cancel);
        Assert.Equal(["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
            Directory.GetFiles(Path.Combine(folder.Path, "text_encoder_2")).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_seed_gives_the_same_bytes_again_and_another_one_others()
    {
        using var folder = new TemporaryFolder();
        foreach (var (name, seed) in ((string, ulong)[])[("a", 1), ("b", 1), ("c", 2)])
            RandomCheckpoint.Write(Path.Combine(folder.Path, name), new RandomOptions("sd3", RandomScale.Tiny, seed), cancellationToken: Cancel);
        byte[] Read(string name) => File.ReadAllBytes(Path.Combine(folder.Path, name, "text_encoder", "model.safetensors"));
        Assert.Equal(Read("a"), Read("b"));
        Assert.NotEqual(Read("a"), Read("c"));
        // Both CLIPs are of one size: their weights must differ nevertheless.
        Assert.NotEqual(Read("a"), File.ReadAllBytes(Path.Combine(folder.Path, "a", "text_encoder_2", "model.safetensors")));
    }

    [Fact]
    public void Weights_are_spread_by_fan_in_norms_are_one_and_biases_zero()
    {
        using var scope = new TensorScope();
        using var folder = new TemporaryFolder();
        RandomCheckpoint.Write(folder.Path, new RandomOptions(RandomLayout.Sprites), cancellationToken: Cancel);
        using var source = WeightsFile.Open(Path.Combine(folder.Path, "causal_video_vae"));
        foreach (var key in source.Keys)
        {
            var value = source.Read(key).To(ElementType.Float32);
            if (value.Shape.Length == 1)
            {
                Assert.All(value.ToArray<float>(), x => Assert.Equal(key.EndsWith("bias", StringComparison.Ordinal) ? 0 : 1, x));
            }
            else if (value.ElementCount > 5000)
            {
                var fanIn = value.Shape.Skip(1).Aggregate(1.0, (a, b) => a * b);
                Assert.InRange(value.Mean().Item() * Math.Sqrt(fanIn), -0.1, 0.1);
                Assert.InRange(Math.Sqrt((value * value).Mean().Item() * fanIn), 0.95, 1.05);
            }
        }
    }

    [Theory]
    [InlineData("miniflux", "pyramid_flux.txt", "clip_l_text_model.txt")]
    [InlineData("sd3", "pyramid_mmdit.txt", "clip_l_with_projection.txt", "clip_g_with_projection.txt")]
    public void Real_sizes_are_those_of_the_released_checkpoints(string layout, string transformer, params string[] clips)
    {
        var family = layout == "sd3" ? ModelFamilies.Sd3 : ModelFamilies.Flux;
        var parts = RandomCheckpoint.Parts(RandomSizes.For(layout, RandomScale.Real, 0, 0), family, RandomScale.Real);
        string[] approved = [transformer, "causal_video_vae.txt", .. clips, "t5_xxl_encoder.txt"];
        Assert.Equal(approved.Length, parts.Count);
        foreach (var (part, file) in parts.Zip(approved))
            ApprovedKeys.AssertEqual(file, part.Model, "encoder.embed_tokens.weight");
        Assert.InRange(parts[^1].Bytes, 9_500_000_000, 9_600_000_000);
    }

    [Fact]
    public void A_folder_that_holds_something_is_left_alone()
    {
        using var folder = new TemporaryFolder();
        folder.Write("mine", "x");
        FaultAssert.Is(Assert.Throws<CheckpointException>(() =>
            RandomCheckpoint.Write(folder.Path, new RandomOptions("miniflux", RandomScale.Tiny), cancellationToken: Cancel)), "target_not_empty", ("folder", folder.Path));
        Assert.Single(Directory.GetFileSystemEntries(folder.Path));
    }

    [Fact]
    public void A_cancelled_run_leaves_nothing()
    {
        using var folder = new TemporaryFolder();
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() =>
            RandomCheckpoint.Write(Path.Combine(folder.Path, "x"), new RandomOptions("miniflux", RandomScale.Tiny), cancellationToken: cancelled.Token));
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path));
    }
}
