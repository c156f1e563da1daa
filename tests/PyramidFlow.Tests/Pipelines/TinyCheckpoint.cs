using PyramidFlow.Hub;
using PyramidFlow.Tests.Hub;
using PyramidFlow.Tests.Transformers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Vae;

namespace PyramidFlow.Tests.Pipelines;

/// <summary>A small checkpoint folder in the released layout, with random weights.</summary>
internal static class TinyCheckpoint
{
    internal static PipelineSettings Settings { get; } = new(LatentNormalization.Released(ModelFamily.Flux), ", sharp", "blurry",
        Width: 64, Height: 64, Frames: 17, FramesPerSecond: 8, Steps: [2, 1, 1], VideoSteps: [1, 2, 1], Guidance: 3, VideoGuidance: 2);

    internal static void Write(TemporaryFolder folder)
    {
        ReleasedLayout.Write(folder, ModelFamily.Flux, "diffusion_transformer_384p");
        using var generator = new RandomGenerator(11);
        // The text encoders of the layout give tokens of 16 and pooled text of 16.
        var config = Tiny.Config with { JointAttentionDim = 16, PooledProjectionDim = 16 };
        using var transformer = Tiny.Flux(generator, config);
        Save(folder, "diffusion_transformer_384p", config.ToJson(), transformer);
        var vaeConfig = CausalVideoVaeConfig.Uniform([8, 8, 8, 8], encoderLayers: 1, decoderLayers: 1, latentChannels: 4, groups: 4);
        using var vae = new CausalVideoVae(vaeConfig);
        vae.Initialize(generator);
        Save(folder, "causal_video_vae", vaeConfig.ToJson(), vae);
        Settings.Write(folder.File(PipelineSettings.FileName));
    }

    private static void Save(TemporaryFolder folder, string name, string config, Module model)
    {
        folder.Write($"{name}/config.json", config);
        SafetensorsWriter.Write(folder.File(name, "diffusion_pytorch_model.safetensors"),
            model.NamedParameters().Select(p => (p.Key, p.Parameter.Value)));
    }
}
