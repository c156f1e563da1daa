using PyramidFlow.Testing;
using PyramidFlow.Tests.Hub;
using PyramidFlow.Tests.Models.Transformers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Generation;

/// <summary>A small checkpoint folder in the released layout, with random weights.</summary>
internal static class TinyCheckpoint
{
    internal static PipelineSettings Settings { get; } = SettingsOf(ModelFamilies.Flux);

    /// <param name="folder">Where to put it.</param>
    /// <param name="family">Its kind.</param>
    /// <param name="prefixes">What training checkpoints put before the keys of the transformer and of the VAE.</param>
    internal static void Write(TemporaryFolder folder, ModelFamily? family = null, (string Transformer, string Vae) prefixes = default)
    {
        family ??= ModelFamilies.Flux;
        ReleasedLayout.Write(folder, family, "diffusion_transformer_384p");
        using var generator = new RandomGenerator(11);
        // The text encoders of the layout give tokens of 16; pooled text is of 16, or of 12 from each of two.
        ITransformerConfig config = family == ModelFamilies.Flux
            ? Tiny.Config with { JointAttentionDim = 16, PooledProjectionDim = 16 }
            : Tiny.MmditConfig with { JointAttentionDim = 16, PooledProjectionDim = 24 };
        using var transformer = Tiny.Build(config, generator);
        Save(folder, "diffusion_transformer_384p", config.ToJson(), transformer, prefixes.Transformer);
        var vaeConfig = CausalVideoVaeConfig.Uniform([8, 8, 8, 8], encoderLayers: 1, decoderLayers: 1, latentChannels: 4, groups: 4);
        using var vae = new CausalVideoVae(vaeConfig);
        vae.Initialize(generator);
        Save(folder, "causal_video_vae", vaeConfig.ToJson(), vae, prefixes.Vae);
        SettingsOf(family).Write(folder.File(PipelineSettings.FileName));
    }

    private static PipelineSettings SettingsOf(ModelFamily family) => new(family.Latent, ", sharp", "blurry",
        Width: 64, Height: 64, Frames: 17, FramesPerSecond: 8, Steps: [2, 1, 1], VideoSteps: [1, 2, 1], Guidance: 3, VideoGuidance: 2);

    private static void Save(TemporaryFolder folder, string name, string config, Module model, string? prefix)
    {
        folder.Write($"{name}/config.json", config);
        SafetensorsWriter.Write(folder.File(name, "diffusion_pytorch_model.safetensors"),
            model.NamedParameters().Select(p => (prefix + p.Key, p.Parameter.Value)));
    }
}
