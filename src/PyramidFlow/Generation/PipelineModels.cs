using PyramidFlow.Hub.Checking;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>The models of a pipeline.</summary>
/// <param name="Text">Encodes prompts.</param>
/// <param name="Transformer">Predicts velocities.</param>
/// <param name="Vae">Decodes latents.</param>
/// <param name="Wider">Models in a wider type for numbers that overflow; null where the element type has the range of float32.</param>
internal sealed record PipelineModels(PromptEncoder Text, PyramidTransformer Transformer, CausalVideoVae Vae, WiderModels? Wider) : IDisposable
{
    /// <summary>Element type of all models.</summary>
    internal ElementType Type => Transformer.WeightType;

    /// <summary>Where they are.</summary>
    internal Device Device => Transformer.Device;

    /// <summary>Prompts encoded before; null when they are not kept.</summary>
    internal PromptCache? Prompts { get; init; }

    /// <summary>The checkpoint and transformer they were loaded from; null for models of the caller.</summary>
    internal (CheckpointFolder Folder, string? Variant)? Origin { get; init; }

    /// <summary>The same checkpoint, for plans; null for models of the caller.</summary>
    internal PlannedModel? Planned { get; init; }

    /// <summary>Digest of the weights and configurations as they were when loading began; null for models of the caller.</summary>
    internal string? Identity { get; init; }

    /// <summary>Weights of the transformer with the LoRAs of clips.</summary>
    internal LoraCache Loras { get; } = new(Transformer);

    /// <summary>When weights are in memory, from <see cref="Arrange"/>.</summary>
    internal Offload Offload { get; private set; }

    /// <summary>Loads the models. Names and configurations are checked before any weight is read.</summary>
    internal static PipelineModels Load(CheckpointFolder folder, PipelineOptions options, IProgress<GenerationProgress>? progress)
    {
        var report = CheckpointReport.Create(folder, options.Variant ?? folder.Variants[0]).Variants[0];
        if (!report.Runs)
            throw CheckpointFault.Several(report.Faults);
        var transformerConfig = TransformerConfigs.Load(folder.Transformer(options.Variant).ConfigFile);
        using (var declared = transformerConfig.Build())
        {
            foreach (var lora in options.Loras)
                LoraFile.Check(declared, lora.Path);
        }

        var vaeConfig = CausalVideoVaeConfig.Read(folder.Vae.ConfigFile);
        var device = options.Device ?? Device.Cpu;
        if (options.Type == ElementType.Float16 && device.Type == DeviceType.Cpu)
            throw RequestFault.Float16OnCpu();
        options.Check();
        var planned = PlannedModel.Of(folder, options.Variant);
        var type = ElementTypeChoice.Of(planned, options).Type;
        // Before the weights are read: a folder that is replaced later has another identity than what is in memory.
        var identity = IdentityOf(folder, options);
        var loader = new ModelLoader(folder, options, device, transformerConfig, vaeConfig);
        var loaded = new List<IDisposable>();
        try
        {
            Report();
            var text = Add(loader.Text(type));
            var transformer = Add(loader.Transformer(type));
            var vae = Add(loader.Vae(type));
            return new PipelineModels(text, transformer, vae, type == ElementType.Float16 ? new WiderModels(loader, device) : null)
            {
                Origin = (folder, options.Variant),
                Planned = planned,
                Identity = identity,
                Prompts = options.TextCache is { } cache ? new PromptCache(cache, EncoderIdentity.Compute(folder, type, device), text, type, device) : null,
            };
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

    /// <summary>Encoded prompts of a run.</summary>
    /// <param name="warn">Takes warnings for the user.</param>
    /// <param name="team">The processes that sample together; null is this one alone.</param>
    /// <param name="run">The run, which all processes leave together; null where there is one process.</param>
    internal EncodedPrompts Prompted(Action<string> warn, SamplingTeam? team = null, CommonRun? run = null) =>
        new(Text, Wider is null ? null : Wider.Text, warn) { Team = team ?? new SamplingTeam(null), Run = run, Cache = Prompts, Begin = () => MakeRoom([.. Text.Models]) };

    /// <summary>A decoder of one clip, which goes over to the wider VAE where pixels overflow.</summary>
    internal UnitDecoder Decoder(LatentNormalization normalization, TileOptions? tiles, Action<string> warn, SharedDecoder? shared = null) =>
        new(Vae, normalization, tiles, Wider is null ? null : Wider.Vae, warn, shared);

    /// <summary>Sets when weights are in memory from now on.</summary>
    /// <param name="offload">Not <see cref="Offload.Auto"/>.</param>
    internal void Arrange(Offload offload)
    {
        Offload = offload;
        foreach (var model in Text.Models)
            model.StreamWeights(offload != Offload.None);
        Transformer.StreamWeights(offload == Offload.Sequential);
    }

    /// <summary>Prepares some models to work: with offloading, the others release their weights.</summary>
    internal void MakeRoom(params IReadOnlyCollection<Module> working)
    {
        if (Offload == Offload.None)
            return;
        var released = false;
        foreach (var model in Text.Models.Append(Transformer).Append(Vae).Except(working))
            released |= model.Release();
        // Cached blocks of freed GPU tensors are of no use to weights, which are loaded into memory of their own.
        if (released && Device.Type == DeviceType.Cuda)
            TorchRuntime.TrimMemory();
    }

    /// <summary>Adds the LoRAs of a clip to the transformer. Disposing the result takes them off.</summary>
    /// <param name="loras">The LoRAs, at least one.</param>
    /// <param name="budget">Most bytes of weights with LoRAs that stay in memory afterwards.</param>
    /// <param name="cancellationToken">Checked before each layer.</param>
    /// <exception cref="CheckpointException">A LoRA is missing, damaged or one of another model; the transformer is as it was.</exception>
    internal IDisposable UseLoras(IReadOnlyList<LoraUse> loras, long budget, CancellationToken cancellationToken)
    {
        MakeRoom(Transformer);
        var use = Loras.Use(loras, budget, cancellationToken);
        if (Wider is not null)
            Wider.Loras = loras;
        return new LorasInUse(use, Wider);
    }

    /// <summary>An exception that names the damaged weight: its file and key, or its key in memory; null where all weights are finite.</summary>
    internal Exception? Explanation(NonFiniteException e, CancellationToken cancellationToken)
    {
        if (Origin is (var folder, var variant))
            return WeightFaults.Explain(folder, e, variant, cancellationToken);
        IEnumerable<Module> models = e.Part switch { ModelPart.Text => Text.Models, ModelPart.Transformer => [Transformer], _ => [Vae] };
        return WeightFaults.Find(models, cancellationToken) is { } key ? new NonFiniteException(e.Part, e.Where, $"its weight {key} holds such a number", e) : null;
    }

    private static string IdentityOf(CheckpointFolder folder, PipelineOptions options)
    {
        IEnumerable<ComponentFolder> text = folder.Family.TextComponents.SelectMany(part => new[] { folder.Component(part.Tokenizer), folder.Component(part.TextEncoder) });
        return string.Join(' ', [
            .. text.Append(folder.Transformer(options.Variant)).Append(folder.Vae).Select(part => FolderDigest.Of(part.Folder)),
            .. options.Loras.Select(lora => FormattableString.Invariant($"{LoraPlace.Find(lora.Path).Digest()} {lora.Weight:R}")),
        ]);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Loras.Dispose();
        Text.Dispose();
        Transformer.Dispose();
        Vae.Dispose();
        Wider?.Dispose();
    }

    // The transformer in the wider type has the same LoRAs as the other one.
    private sealed class LorasInUse(IDisposable use, WiderModels? wider) : IDisposable
    {
        public void Dispose()
        {
            use.Dispose();
            if (wider is not null)
                wider.Loras = [];
        }
    }
}

/// <summary>Loads the models of a checkpoint onto one device, in any element type.</summary>
/// <param name="folder">The checkpoint.</param>
/// <param name="options">The transformer's variant, the LoRAs, and when weights are in memory.</param>
/// <param name="device">Where to hold them.</param>
/// <param name="transformer">Sizes of the transformer.</param>
/// <param name="vae">Sizes of the VAE.</param>
internal sealed class ModelLoader(CheckpointFolder folder, PipelineOptions options, Device device, ITransformerConfig transformer, CausalVideoVaeConfig vae)
{
    /// <summary>The text encoders; their weights are read when the first prompt needs them.</summary>
    internal PromptEncoder Text(ElementType type) => PromptEncoder.Load(folder, (model, component) => Attach(model, component, type));

    internal PyramidTransformer Transformer(ElementType type)
    {
        var model = Fill(transformer.Build(), folder.Transformer(options.Variant), type);
        try
        {
            foreach (var lora in options.Loras)
                LoraFile.Merge(model, lora.Path, lora.Weight);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    internal CausalVideoVae Vae(ElementType type) => Fill(new CausalVideoVae(vae), folder.Vae, type);

    private T Fill<T>(T model, ComponentFolder component, ElementType type)
        where T : Module
    {
        try
        {
            if (options is { Offload: Offload.None, MaxMemory: null })
                Load(model, component, type);
            else
                Attach(model, component, type);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    private void Load(Module model, ComponentFolder component, ElementType type)
    {
        using var source = component.OpenWeights();
        model.Load(source, type, device);
    }

    private void Attach(Module model, ComponentFolder component, ElementType type) => model.Attach(component.OpenWeights(), type, device);
}

/// <summary>
/// The models in types of wider range, for numbers that overflow in float16; loaded when first needed, then
/// kept.
/// </summary>
/// <param name="loader">Where they come from.</param>
/// <param name="device">Where they are.</param>
internal sealed class WiderModels(ModelLoader loader, Device device) : IDisposable
{
    private PyramidTransformer? transformer;
    private CausalVideoVae? vae;
    private LoraCache? loras;
    private IDisposable? use;

    // CPUs compute float32 fastest; on a GPU bfloat16 takes no more memory than float16.
    private ElementType Type => device.Type == DeviceType.Cpu ? ElementType.Float32 : ElementType.BFloat16;

    /// <summary>LoRAs of the current clip.</summary>
    internal IReadOnlyList<LoraUse> Loras
    {
        get;
        set
        {
            use?.Dispose();
            (use, field) = (null, value);
        }
    } = [];

    internal PyramidTransformer Transformer()
    {
        if (transformer is null)
        {
            transformer = loader.Transformer(Type);
            loras = new LoraCache(transformer);
        }

        if (Loras.Count > 0)
            use ??= loras!.Use(Loras, budget: 0, CancellationToken.None);
        return transformer;
    }

    // Called from the decoding thread, too.
    internal CausalVideoVae Vae()
    {
        lock (loader)
            return vae ??= loader.Vae(ElementType.Float32);
    }

    /// <summary>The text encoders. They are large and seldom needed, so the caller frees them.</summary>
    internal PromptEncoder Text() => loader.Text(Type);

    /// <inheritdoc/>
    public void Dispose()
    {
        Loras = [];
        loras?.Dispose();
        transformer?.Dispose();
        vae?.Dispose();
    }
}
