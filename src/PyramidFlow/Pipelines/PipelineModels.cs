using PyramidFlow.Hub;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Lora;
using PyramidFlow.TextEncoders;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Transformers;
using PyramidFlow.Vae;

namespace PyramidFlow.Pipelines;

/// <summary>The models of a pipeline, which fit one another.</summary>
/// <param name="Text">Encodes prompts.</param>
/// <param name="Transformer">Predicts velocities.</param>
/// <param name="Vae">Decodes latents.</param>
internal sealed record PipelineModels(PromptEncoder Text, PyramidTransformer Transformer, CausalVideoVae Vae) : IDisposable
{
    /// <summary>Element type of all models.</summary>
    internal ElementType Type => Transformer.WeightType;

    /// <summary>Where they are.</summary>
    internal Device Device => Transformer.Device;

    /// <summary>Loads the models; what can be seen from names and configs is checked before any weight is read.</summary>
    internal static PipelineModels Load(CheckpointFolder folder, PipelineOptions options, IProgress<GenerationProgress>? progress)
    {
        var report = CheckpointReport.Of(folder, options.Variant ?? folder.Variants[0]).Variants[0];
        if (!report.Runs)
            throw new CheckpointException(string.Join("; ", report.Faults));
        foreach (var lora in options.Loras)
            LoraFile.CheckExists(lora.Path);
        var (transformerFolder, vaeFolder) = (folder.Transformer(options.Variant), folder.Vae);
        var transformerConfig = TransformerConfigs.Load(transformerFolder.ConfigFile);
        var vaeConfig = CausalVideoVaeConfig.Read(vaeFolder.ConfigFile);
        var device = options.Device ?? Device.Cpu;
        var type = options.Type ?? (device.Type == DeviceType.Cpu ? ElementType.Float32 : ElementType.BFloat16);
        var loaded = new List<IDisposable>();
        try
        {
            Report();
            var text = Add(PromptEncoder.Load(folder, type, device));
            var transformer = Add(Fill(transformerConfig.Build(), transformerFolder));
            foreach (var lora in options.Loras)
                LoraFile.Merge(transformer, lora.Path, lora.Weight);
            var vae = Add(Fill(new CausalVideoVae(vaeConfig), vaeFolder));
            return new PipelineModels(text, transformer, vae);
        }
        catch
        {
            loaded.ForEach(model => model.Dispose());
            throw;
        }

        void Report() => progress?.Report(new GenerationProgress(GenerationPhase.Loading, 0, 0, 0, 0, loaded.Count, 3, 0));

        T Add<T>(T model)
            where T : IDisposable
        {
            loaded.Add(model);
            Report();
            return model;
        }

        T Fill<T>(T model, ComponentFolder component)
            where T : Module
        {
            using var source = component.OpenWeights();
            model.Load(source, type, device);
            return model;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Text.Dispose();
        Transformer.Dispose();
        Vae.Dispose();
    }
}
