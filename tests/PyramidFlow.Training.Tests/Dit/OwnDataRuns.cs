using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Tests.Data;

namespace PyramidFlow.Training.Tests.Dit;

/// <summary>Runs of a transformer's training on data of one's own, small enough for seconds, in a folder that goes away with the test.</summary>
internal sealed class OwnDataRuns : IDisposable
{
    private const int Width = 32, Channels = 4;

    public MediaFolder Media { get; } = new();

    public static string Config(string folder, string annotations, string addition = "\"seed\": 1") => $$"""
        {
          // a comment
          "model": {{JsonSerializer.Serialize(folder)}},
          "data": { "annotations": {{JsonSerializer.Serialize(annotations)}}, "sizes": ["64x64"], "frames": [9, 17], "workers": 2, "prefetch": 0, "fps": null },
          "steps": 3, "max_temporal_length": 3, "log_every": 1, {{addition}}
        }
        """;

    /// <summary>A configuration in which all of the data was extracted before.</summary>
    public static string ExtractedConfig(string folder, string annotations, string addition) =>
        Config(folder, annotations, $"\"input\": \"latents\", \"captions\": \"features\", \"text_drop\": 0, {addition}");

    /// <summary>Writes the configuration and trains.</summary>
    /// <param name="train">One of the entries of <c>DitTraining</c>.</param>
    /// <param name="config">Its text.</param>
    /// <param name="name">Name of the run.</param>
    /// <param name="stop">Cancels it, or null.</param>
    public IReadOnlyList<string> Train(Entry train, string config, string name, StopAfter? stop = null)
    {
        File.WriteAllText(Media.File($"{name}.json"), config);
        return train(Media.File($"{name}.json"), Path.GetDirectoryName(Media.File(name, "x"))!, stop, stop?.Token ?? CancellationToken.None);
    }

    public delegate IReadOnlyList<string> Entry(TrainingConfigSource config, string folder, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken,
        PyramidFlow.Torch.Distributed.ProcessGroup? group = null);

    public async Task<string> SomeMediaAsync()
    {
        List<object> lines = [];
        for (var i = 0; i < 2; i++)
            lines.Add(new { video = await Media.VideoAsync($"{i}.mp4", 17 + (8 * (i % 2)), 64, 64), text = "a red ball" });
        lines.Add(new { image = Media.Image("still.png", 64, 64), text = "a ball" });
        return Media.Annotate([.. lines]);
    }

    /// <summary>Latents and features of a few items that are all alike, so that a small network learns them in a few steps.</summary>
    /// <param name="items">Number of items.</param>
    /// <param name="side">Rows and columns of the latents.</param>
    public string Extracted(int items = 4, int side = 8)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        List<object> lines = [];
        for (var i = 0; i < items; i++)
        {
            var (latent, text) = (Media.File($"{i}.safetensors"), Media.File($"{i}.text.safetensors"));
            SafetensorsWriter.Write(latent, [("latent", Tensor.Randn([1, Channels, 3, side, side], generator) * 0.1 + 2)]);
            SafetensorsWriter.Write(text,
            [
                ("prompt_embed", Tensor.Randn([1, 3, Width], generator)), ("prompt_attention_mask", Tensor.Ones([1, 3], ElementType.Int64)),
                ("pooled_prompt_embed", Tensor.Randn([1, Width], generator)),
            ]);
            lines.Add(new { latent, text_fea = text });
        }

        return Media.Annotate([.. lines]);
    }

    /// <summary>A folder without VAE and text encoders but their configs: nothing of them is loaded where everything was extracted before.</summary>
    /// <param name="family">flux or mmdit.</param>
    /// <param name="seed">Seed of the transformer's weights; null writes none.</param>
    /// <param name="network">Sizes of the transformer; null is the small one.</param>
    public string Bare(string family, ulong? seed = null, ITransformerConfig? network = null)
    {
        var transformer = network ?? Transformer(family);
        var folder = Path.GetDirectoryName(Media.File(family + seed, "x"))!;
        File.WriteAllText(Media.File(family + seed, "diffusion_transformer_384p", "config.json"), ConfigFile.WithClass(transformer.ClassName, transformer.ToJson()));
        File.WriteAllText(Media.File(family + seed, "causal_video_vae", "config.json"),
            CausalVideoVaeConfig.Uniform([8, 8, 8, 8], 1, 1, latentChannels: Channels, groups: 2).ToJson());
        if (seed is { } number)
            RandomBase.Write(Media.File(family + seed, "diffusion_transformer_384p", "diffusion_pytorch_model.safetensors"), transformer, number);
        return folder;
    }

    /// <summary>Sizes of the small transformer of a family.</summary>
    public static ITransformerConfig Transformer(string family) => family == "flux"
        ? new PyramidFluxConfig(16, 1, 1, 16, 2, Width, Width, [4, 6, 6])
        : new PyramidMmditConfig(Channels, 2, 16, 2, CaptionProjectionDim: 32, Width, Width, PosEmbedMaxSize: 16);

    public List<JsonElement> Metrics(string name) => [.. File.ReadLines(Media.File(name, "metrics.jsonl")).Select(line => JsonElement.Parse(line))];

    public void Dispose() => Media.Dispose();

    /// <summary>Cancels when a step is reported, as a user would.</summary>
    internal sealed class StopAfter(long step) : IProgress<TrainingProgress>
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
