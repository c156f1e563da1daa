using System.Text.Json;
using PyramidFlow.Cli.Tests;
using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Runs;
using PyramidFlow.Training.Tests.Data;
using PyramidFlow.Transformers;
using PyramidFlow.Vae;

namespace PyramidFlow.Training.Tests.Dit;

public sealed class DitDataTrainingTests(TinyModel model) : IClassFixture<TinyModel>, IDisposable
{
    private const int Width = 32, Channels = 4;

    private readonly MediaFolder media = new();

    public void Dispose() => media.Dispose();

    [Fact]
    public async Task Videos_and_images_train_a_model_that_fits_its_folder()
    {
        var annotations = await SomeMedia();
        var config = Config(model.Folder, annotations, "\"accumulation\": 2, \"steps\": 2");
        Assert.Empty(Train(config, "run"));

        // The trained component takes the place of the model's own and is loaded by its config.
        var component = new ComponentFolder("diffusion_transformer", media.File("run", "diffusion_transformer"));
        using var trained = TransformerConfigs.Load(component.ConfigFile).Build();
        using (var weights = component.OpenWeights())
            trained.Load(weights);
        Assert.Contains(Metrics("run"), line => line.GetProperty("loss_1").GetDouble() > 0);
        Assert.True(Metrics("run").Last().GetProperty("tokens_per_second").GetDouble() > 0);
    }

    [Fact]
    public async Task A_stopped_run_on_media_ends_in_the_bits_of_a_whole_one()
    {
        var annotations = await SomeMedia();
        Train(Config(model.Folder, annotations), "whole");
        Train(Config(model.Folder, annotations), "parts", new StopAfter(1));
        Assert.EndsWith("state-00000001.safetensors", new RunFolder(media.File("parts")).LatestState!, StringComparison.Ordinal);
        Train(Config(model.Folder, annotations), "parts");
        Assert.Equal(Weights("whole"), Weights("parts"));
    }

    [Theory]
    [InlineData("flux", "autoregressive")]
    [InlineData("flux", "full_sequence")]
    [InlineData("mmdit", "autoregressive")]
    [InlineData("mmdit", "full_sequence")]
    public void Both_families_learn_from_extracted_latents_and_features(string family, string objective)
    {
        var config = Config(Bare(family), Extracted(), "\"input\": \"latents\", \"captions\": \"features\", \"text_drop\": 0, \"from_scratch\": true, "
            + $"\"steps\": 12, \"objective\": \"{objective}\", \"learning_rate\": 0.01, \"warm_up_steps\": 0, \"log_every\": 3");
        Train(config, "run");
        var losses = Metrics("run").Select(line => line.GetProperty("loss").GetDouble()).ToList();
        Assert.True(losses[^1] < 0.9 * losses[0], string.Join(", ", losses));
    }

    [Theory]
    [InlineData("\"objectiv\": 1", "unknown key objectiv, the nearest one there is objective")]
    [InlineData("\"batch\": 6", "batch 6 cannot be dealt to 1 workers and sample_ratios [1, 2, 1]: use a multiple of 4")]
    [InlineData("\"captions\": \"features\"", "captions features go with input latents")]
    public void Impossible_configurations_are_refused_in_one_sentence(string addition, string named)
    {
        var error = Assert.Throws<ArgumentException>(() => Train(Config(model.Folder, "none.jsonl", addition), "run"));
        Assert.Contains(named, error.Message, StringComparison.Ordinal);
    }

    private static string Config(string folder, string annotations, string addition = "\"seed\": 1") => $$"""
        {
          // a comment
          "model": {{JsonSerializer.Serialize(folder)}},
          "data": { "annotations": {{JsonSerializer.Serialize(annotations)}}, "sizes": ["64x64"], "frames": [9, 17], "workers": 2, "prefetch": 0, "fps": null },
          "steps": 3, "max_temporal_length": 3, "log_every": 1, {{addition}}
        }
        """;

    private IReadOnlyList<string> Train(string config, string name, StopAfter? stop = null)
    {
        File.WriteAllText(media.File($"{name}.json"), config);
        return DitDataTraining.Run(media.File($"{name}.json"), Path.GetDirectoryName(media.File(name, "x"))!, stop, stop?.Token ?? CancellationToken.None);
    }

    private async Task<string> SomeMedia()
    {
        List<object> lines = [];
        for (var i = 0; i < 2; i++)
            lines.Add(new { video = await media.VideoAsync($"{i}.mp4", 17 + (8 * (i % 2)), 64, 64), text = "a red ball" });
        lines.Add(new { image = media.Image("still.png", 64, 64), text = "a ball" });
        return media.Annotate([.. lines]);
    }

    // Latents and features of a few items that are all alike, so that a small network learns them in a few steps.
    private string Extracted()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        List<object> lines = [];
        for (var i = 0; i < 4; i++)
        {
            var (latent, text) = (media.File($"{i}.safetensors"), media.File($"{i}.text.safetensors"));
            SafetensorsWriter.Write(latent, [("latent", Tensor.Randn([1, Channels, 3, 8, 8], generator) * 0.1 + 2)]);
            SafetensorsWriter.Write(text,
            [
                ("prompt_embed", Tensor.Randn([1, 3, Width], generator)), ("prompt_attention_mask", Tensor.Ones([1, 3], ElementType.Int64)),
                ("pooled_prompt_embed", Tensor.Randn([1, Width], generator)),
            ]);
            lines.Add(new { latent, text_fea = text });
        }

        return media.Annotate([.. lines]);
    }

    // A folder that holds configs only: nothing of it is loaded where everything was extracted before.
    private string Bare(string family)
    {
        ITransformerConfig transformer = family == "flux"
            ? new PyramidFluxConfig(16, 1, 1, 16, 2, Width, Width, [4, 6, 6])
            : new PyramidMmditConfig(Channels, 2, 16, 2, CaptionProjectionDim: 32, Width, Width, PosEmbedMaxSize: 16);
        var folder = Path.GetDirectoryName(media.File(family, "x"))!;
        File.WriteAllText(media.File(family, "diffusion_transformer_384p", "config.json"), ConfigFile.WithClass(transformer.ClassName, transformer.ToJson()));
        File.WriteAllText(media.File(family, "causal_video_vae", "config.json"),
            CausalVideoVaeConfig.Uniform([8, 8, 8, 8], 1, 1, latentChannels: Channels, groups: 2).ToJson());
        return folder;
    }

    private byte[] Weights(string name) => File.ReadAllBytes(media.File(name, "diffusion_transformer", "diffusion_pytorch_model.safetensors"));

    private List<JsonElement> Metrics(string name) => [.. File.ReadLines(media.File(name, "metrics.jsonl")).Select(line => JsonElement.Parse(line))];

    /// <summary>Cancels when a step is reported, as a user would.</summary>
    private sealed class StopAfter(long step) : IProgress<TrainingProgress>
    {
        private readonly CancellationTokenSource source = new();

        public CancellationToken Token => source.Token;

        public void Report(TrainingProgress value)
        {
            if (value.Step >= step)
                source.Cancel();
        }
    }
}
