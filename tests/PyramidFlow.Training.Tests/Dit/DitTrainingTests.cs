using PyramidFlow.Cli.Tests;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Tests.Data;
using PyramidFlow.Training.Tests.Loop;

namespace PyramidFlow.Training.Tests.Dit;

public sealed class DitTrainingTests(TinyModel model) : IClassFixture<TinyModel>, IDisposable
{
    private readonly OwnDataRuns runs = new();

    private MediaFolder Media => runs.Media;

    public void Dispose() => runs.Dispose();

    [Fact]
    public async Task Videos_and_images_train_a_model_that_fits_its_folder()
    {
        var annotations = await runs.SomeMediaAsync();
        var config = OwnDataRuns.Config(model.Folder, annotations, "\"accumulation\": 2, \"steps\": 2");
        Assert.Empty(Train(config, "run"));

        // The trained component takes the place of the model's own and is loaded by its config.
        var component = new ComponentFolder("diffusion_transformer", Media.File("run", "diffusion_transformer"));
        using var trained = TransformerConfigs.Load(component.ConfigFile).Build();
        using (var weights = component.OpenWeights())
            trained.Load(weights);
        Assert.Contains(runs.Metrics("run"), line => line.GetProperty("loss_1").GetDouble() > 0);
        Assert.True(runs.Metrics("run").Last().GetProperty("tokens_per_second").GetDouble() > 0);
    }

    [Fact]
    public async Task A_stopped_run_on_media_ends_in_the_bits_of_a_whole_one()
    {
        var annotations = await runs.SomeMediaAsync();
        Train(OwnDataRuns.Config(model.Folder, annotations), "whole");
        Train(OwnDataRuns.Config(model.Folder, annotations), "parts", new OwnDataRuns.StopAfter(1));
        Assert.EndsWith("state-00000001.safetensors", new RunFolder(Media.File("parts")).LatestState!, StringComparison.Ordinal);
        Train(OwnDataRuns.Config(model.Folder, annotations), "parts");
        Assert.Equal(Weights("whole"), Weights("parts"));
    }

    [Fact]
    public async Task A_run_of_whole_micro_batches_is_the_same_on_one_process_and_on_two()
    {
        var annotations = await runs.SomeMediaAsync();
        var config = OwnDataRuns.Config(model.Folder, annotations, "\"batches_per_step\": 2").Replace("\"prefetch\": 0", "\"prefetch\": 2", StringComparison.Ordinal);
        Train(config, "one");
        await Ranks.RunAsync(2, Media.File("store"), group =>
            DitTraining.Run(Media.File("one.json"), Path.GetDirectoryName(Media.File("two", "x"))!, null, TestContext.Current.CancellationToken, group));

        var (one, two) = (runs.Metrics("one"), runs.Metrics("two"));
        Assert.Equal(one.Count, two.Count);
        Assert.All(one.Zip(two), pair => Assert.Equal(pair.First.GetProperty("loss").GetDouble(), pair.Second.GetProperty("loss").GetDouble(), 1e-6));
        Assert.All(one.Zip(two), pair => Assert.Equal(pair.First.GetProperty("gradient_norm").GetDouble(), pair.Second.GetProperty("gradient_norm").GetDouble(), 1e-5));
    }

    [Theory]
    [InlineData("flux", "autoregressive")]
    [InlineData("flux", "full_sequence")]
    [InlineData("mmdit", "autoregressive")]
    [InlineData("mmdit", "full_sequence")]
    public void Both_families_learn_from_extracted_latents_and_features(string family, string objective)
    {
        var config = OwnDataRuns.ExtractedConfig(runs.Bare(family), runs.Extracted(), "\"from_scratch\": true, "
            + $"\"steps\": 12, \"objective\": \"{objective}\", \"learning_rate\": 0.01, \"warm_up_steps\": 0, \"log_every\": 3");
        Train(config, "run");
        var losses = runs.Metrics("run").Select(line => line.GetProperty("loss").GetDouble()).ToList();
        Assert.True(losses[^1] < 0.9 * losses[0], string.Join(", ", losses));
    }

    [Theory]
    [InlineData("\"objectiv\": 1", "config_key_unknown", "key=objectiv nearest=objective")]
    [InlineData("\"batch\": 6", "batch_not_dealt", "batch=6 workers=1 multiple=4")]
    [InlineData("\"captions\": \"features\"", "features_of_media")]
    [InlineData("\"captions\": \"none\"", "config_value_invalid", "key=captions value=none")]
    [InlineData("\"vae_window\": 12", "config_value_invalid", "key=vae_window value=12 multiple=8")]
    [InlineData("\"sample_every\": 2", "samples_missing", "sample_every=2")]
    [InlineData("\"samples\": { \"prompts\": [\"a\"] }", "sample_every_missing")]
    [InlineData("\"sample_every\": 2, \"samples\": { \"prompts\": [] }", "samples_without_prompts")]
    [InlineData("\"sample_every\": 2, \"samples\": { \"prompts\": [\"a\"], \"size\": \"big\" }", "size_malformed", "size=big")]
    [InlineData("\"sample_every\": 2, \"samples\": { \"prompts\": [\"a\"], \"frames\": 4 }", "samples_impossible")]
    [InlineData("\"sample_every\": 2, \"samples\": { \"prompt\": [\"a\"] }", "config_key_unknown", "key=prompt section=samples nearest=prompts")]
    [InlineData("\"device\": \"tpu\"", "device_unknown", "device=tpu")]
    public void Impossible_configurations_are_refused_in_one_sentence(string addition, string code, string parameters = "")
    {
        var error = Assert.Throws<TrainingException>(() => Train(OwnDataRuns.Config(model.Folder, "none.jsonl", addition), "run"));
        FaultAssert.Has(error, code, parameters);
    }

    private IReadOnlyList<string> Train(string config, string name, OwnDataRuns.StopAfter? stop = null) => runs.Train(DitTraining.Run, config, name, stop);

    private byte[] Weights(string name) => File.ReadAllBytes(Media.File(name, "diffusion_transformer", "diffusion_pytorch_model.safetensors"));
}
