using System.Globalization;
using PyramidFlow.Hub;
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
/// <param name="Wider">What to go over to when numbers overflow; null where the element type has the range of float32.</param>
internal sealed record PipelineModels(PromptEncoder Text, PyramidTransformer Transformer, CausalVideoVae Vae, WiderModels? Wider) : IDisposable
{
    /// <summary>Element type of all models.</summary>
    internal ElementType Type => Transformer.WeightType;

    /// <summary>Where they are.</summary>
    internal Device Device => Transformer.Device;

    /// <summary>Loads the models; what can be seen from names and configs is checked before any weight is read.</summary>
    internal static PipelineModels Load(CheckpointFolder folder, PipelineOptions options, IProgress<GenerationProgress>? progress)
    {
        var problems = folder.Problems(options.Variant);
        if (problems.Count > 0)
            throw new CheckpointException(string.Join("; ", problems));
        var (transformerFolder, vaeFolder) = (folder.Transformer(options.Variant), folder.Vae);
        var transformerConfig = TransformerConfigs.Load(transformerFolder.ConfigFile);
        var vaeConfig = CausalVideoVaeConfig.Read(vaeFolder.ConfigFile);
        CheckVae(vaeFolder.ConfigFile, vaeConfig, transformerConfig);
        var device = options.Device ?? Device.Cpu;
        var type = options.Type ?? (device.Type == DeviceType.Cpu ? ElementType.Float32 : ElementType.BFloat16);
        if (type == ElementType.Float16 && device.Type == DeviceType.Cpu)
            throw new ArgumentException("float16 is for GPUs, CPUs have no arithmetic for it: use bfloat16 or float32");
        options.Check();
        var loader = new ModelLoader(folder, options.Variant, device, transformerConfig, vaeConfig);
        var loaded = new List<IDisposable>();
        try
        {
            Report();
            var text = Add(loader.Text(type));
            CheckText(folder, text, transformerConfig);
            var transformer = Add(loader.Transformer(type));
            var vae = Add(loader.Vae(type));
            return new PipelineModels(text, transformer, vae, type == ElementType.Float16 ? new WiderModels(loader, device) : null);
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
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Text.Dispose();
        Transformer.Dispose();
        Vae.Dispose();
        Wider?.Dispose();
    }

    private static void CheckVae(string file, CausalVideoVaeConfig vae, ITransformerConfig transformer)
    {
        if (vae.EncoderOutChannels != transformer.LatentChannels)
        {
            throw ConfigFile.Fault(file, "encoder_out_channels", string.Create(CultureInfo.InvariantCulture,
                $"is {vae.EncoderOutChannels} where the transformer has latents of {transformer.LatentChannels} channels; take both from one checkpoint"));
        }

        if (vae.SpatialScale != VideoLength.Scale || vae.TemporalScale != VideoLength.Scale)
        {
            throw new CheckpointException(string.Create(CultureInfo.InvariantCulture,
                $"{file}: this VAE makes frames {vae.SpatialScale} times smaller and {vae.TemporalScale} times fewer; a pipeline needs {VideoLength.Scale} and {VideoLength.Scale}"));
        }
    }

    private static void CheckText(CheckpointFolder folder, PromptEncoder text, ITransformerConfig transformer)
    {
        if (text.TokenWidth == transformer.JointAttentionDim && text.PooledWidth == transformer.PooledProjectionDim)
            return;
        throw new CheckpointException(string.Create(CultureInfo.InvariantCulture,
            $"{folder.Root}: the text encoders give tokens of {text.TokenWidth} and pooled text of {text.PooledWidth} where the transformer takes {transformer.JointAttentionDim} and {transformer.PooledProjectionDim}; take all from one checkpoint"));
    }
}
