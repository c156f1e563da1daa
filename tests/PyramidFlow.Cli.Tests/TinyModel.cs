using System.Globalization;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Cli.Tests;

/// <summary>A whole checkpoint with random weights, small enough to generate in a second; made once for all tests.</summary>
public sealed class TinyModel : IDisposable
{
    private const int Width = 32;
    private readonly TemporaryFolder folder = new();

    public TinyModel()
    {
        WordTokenizerFiles.WriteClip(Component("tokenizer"), ["a", "red", "ball"]);
        WordTokenizerFiles.WriteT5(Component("tokenizer_2"), ["a", "red", "ball"]);
        var clip = ClipTokenizer.Load(Component("tokenizer"));
        var t5 = T5Tokenizer.Load(Component("tokenizer_2"));
        var transformer = new PyramidFluxConfig(16, 1, 1, 16, 2, Width, Width, [4, 6, 6]);
        var vae = CausalVideoVaeConfig.Uniform([8, 8, 8, 8], 1, 1, latentChannels: 4, groups: 2);
        var clipConfig = Invariant($$"""
            {"vocab_size": {{clip.VocabularySize}}, "hidden_size": {{Width}}, "intermediate_size": {{Width}}, "num_hidden_layers": 1,
             "num_attention_heads": 2, "max_position_embeddings": 77, "eos_token_id": {{clip.EndId}}}
            """);
        var t5Config = Invariant($$"""
            {"vocab_size": {{t5.VocabularySize}}, "d_model": {{Width}}, "d_kv": 16, "d_ff": {{Width}}, "num_layers": 1, "num_heads": 2}
            """);
        Write("diffusion_transformer_384p", transformer.ToJson(), _ => new PyramidFlux(transformer));
        Write("causal_video_vae", vae.ToJson(), _ => new CausalVideoVae(vae));
        Write("text_encoder", clipConfig, file => new ClipTextModel(ClipTextConfig.Read(file)));
        Write("text_encoder_2", t5Config, file => new T5Encoder(T5EncoderConfig.Read(file)));
        new PipelineSettings(ModelFamilies.Flux.Latent, "", "", 64, 64, 9, 24, [1, 1, 1], [1, 1, 1], 0, 0)
            .Write(Path.Combine(Folder, PipelineSettings.FileName));
    }

    public string Folder => folder.Path;

    public void Dispose() => folder.Dispose();

    /// <summary>A copy in the folder <c>model</c>, whose weights nobody finishes reading, as those on a disk that does not answer.</summary>
    internal async Task<string> WithSilentWeightsAsync(TemporaryFolder target, CancellationToken cancellationToken)
    {
        foreach (var file in Directory.EnumerateFiles(Folder, "*", SearchOption.AllDirectories))
            File.CreateSymbolicLink(target.File("model", Path.GetRelativePath(Folder, file)), file);
        foreach (var weights in Directory.EnumerateFiles(target.File("model"), "*.safetensors", SearchOption.AllDirectories))
        {
            File.Delete(weights);
            using var pipe = System.Diagnostics.Process.Start("mkfifo", [weights]);
            await pipe.WaitForExitAsync(cancellationToken);
        }

        return target.File("model");
    }

    /// <summary>Writes a LoRA of the transformer with random weights, which change its videos.</summary>
    internal void WriteLora(string path, ulong seed)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(seed);
        var config = new LoraConfig { Rank = 2, Targets = ["proj_out"] };
        using var transformer = TransformerConfigs.Load(Path.Combine(Folder, "diffusion_transformer_384p", "config.json")).Build();
        transformer.Initialize(generator);
        LoraAdapters.Attach(transformer, config, generator);
        using var parameters = new FlatParameters(("", transformer));
        parameters.Values.NormalInPlace(0, 0.5, generator);
        LoraFile.Write(path, parameters.Named(parameters.Values), config);
    }

    private string Component(string name) => folder.File(name);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private void Write(string name, string config, Func<string, Module> declare)
    {
        Directory.CreateDirectory(Component(name));
        var file = Path.Combine(Component(name), "config.json");
        File.WriteAllText(file, config);
        using var module = declare(file);
        using var generator = new RandomGenerator(1);
        module.Initialize(generator);
        using var scope = new TensorScope();
        var weights = name.StartsWith("text", StringComparison.Ordinal) ? "model.safetensors" : "diffusion_pytorch_model.safetensors";
        SafetensorsWriter.Write(Path.Combine(Component(name), weights), module.NamedParameters().Select(p => (p.Key, p.Parameter.Value)));
    }
}
