using PyramidFlow.Testing;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Hub;

/// <summary>Small folders in the released layout, with random weights.</summary>
internal static class ReleasedLayout
{
    internal static void Write(TemporaryFolder folder, ModelFamily family, params string[] transformers)
    {
        var (tokens, pooled) = (16, family == ModelFamilies.Flux ? 16 : 24);
        ITransformerConfig config = family == ModelFamilies.Flux
            ? new PyramidFluxConfig(InChannels: 16, NumLayers: 1, NumSingleLayers: 1, AttentionHeadDim: 16, NumAttentionHeads: 1, JointAttentionDim: tokens, PooledProjectionDim: pooled, AxesDimsRope: [4, 6, 6])
            : new PyramidMmditConfig(InChannels: 4, NumLayers: 1, AttentionHeadDim: 16, NumAttentionHeads: 1, CaptionProjectionDim: 16, JointAttentionDim: tokens, PooledProjectionDim: pooled, SampleSize: 16, PosEmbedMaxSize: 8);
        foreach (var name in transformers)
        {
            folder.File(name, "x");
            folder.Write($"{name}/config.json", config.ToJson());
            using var transformer = config.Build();
            Save(transformer, folder.File(name, "diffusion_pytorch_model.safetensors"));
        }

        var vaeConfig = CausalVideoVaeConfig.Uniform([4, 4, 4, 4], 1, 1, latentChannels: 4, groups: 2);
        folder.File("causal_video_vae", "x");
        folder.Write("causal_video_vae/config.json", vaeConfig.ToJson());
        using var vae = new CausalVideoVae(vaeConfig);
        Save(vae, folder.File("causal_video_vae", "diffusion_pytorch_model.safetensors"));
        if (family == ModelFamilies.Flux)
        {
            Clip(folder, "text_encoder", "tokenizer", "clip", config => new ClipTextModel(config));
            T5(folder, "text_encoder_2", "tokenizer_2");
        }
        else
        {
            Clip(folder, "text_encoder", "tokenizer", "clip", config => new ClipTextModelWithProjection(config));
            Clip(folder, "text_encoder_2", "tokenizer_2", "clip_pad_bang", config => new ClipTextModelWithProjection(config));
            T5(folder, "text_encoder_3", "tokenizer_3");
        }
    }

    private static void Clip(TemporaryFolder folder, string name, string tokenizer, string vocabulary, Func<ClipTextConfig, Module> declare)
    {
        var from = CopyTokenizer(folder, tokenizer, vocabulary);
        var rows = PyramidFlow.Models.Tokenizers.ClipTokenizer.Load(from).VocabularySize;
        var json = $$"""{"vocab_size":{{rows}},"hidden_size":16,"intermediate_size":32,"num_hidden_layers":1,"num_attention_heads":2,"max_position_embeddings":77,"eos_token_id":2,"projection_dim":12}""";
        folder.File(name, "x");
        folder.Write($"{name}/config.json", json);
        using var model = declare(ClipTextConfig.Read(folder.File(name, "config.json")));
        Save(model, folder.File(name, "model.safetensors"));
    }

    private static void T5(TemporaryFolder folder, string name, string tokenizer)
    {
        var from = CopyTokenizer(folder, tokenizer, "t5");
        var rows = PyramidFlow.Models.Tokenizers.T5Tokenizer.Load(from).VocabularySize;
        folder.File(name, "x");
        folder.Write($"{name}/config.json",
            $$"""{"vocab_size":{{rows}},"d_model":16,"d_kv":8,"d_ff":32,"num_layers":2,"num_heads":2,"feed_forward_proj":"gated-gelu"}""");
        using var model = new T5Encoder(T5EncoderConfig.Read(folder.File(name, "config.json")));
        Save(model, folder.File(name, "model-00001-of-00002.safetensors"), folder.File(name, "model-00002-of-00002.safetensors"));
        folder.Write($"{name}/model.safetensors.index.json", Index(model));
    }

    private static string Index(Module model) => "{\"weight_map\":{" + string.Join(",",
        model.NamedParameters().Select((p, i) => $"\"{p.Key}\":\"model-0000{(i % 2) + 1}-of-00002.safetensors\"")) + "}}";

    private static string CopyTokenizer(TemporaryFolder folder, string name, string vocabulary)
    {
        var target = Path.GetDirectoryName(folder.File(name, "x"))!;
        foreach (var file in Directory.GetFiles(Path.Combine(Goldens.Root, "tokenizer", vocabulary)))
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)));
        return target;
    }

    private static void Save(Module model, params string[] shards)
    {
        using var generator = new RandomGenerator(1);
        model.Initialize(generator);
        var parameters = model.NamedParameters().ToList();
        for (var shard = 0; shard < shards.Length; shard++)
        {
            SafetensorsWriter.Write(shards[shard],
                parameters.Where((_, i) => i % shards.Length == shard).Select(p => (p.Key, p.Parameter.Value)));
        }
    }
}
