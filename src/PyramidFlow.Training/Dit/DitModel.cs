using PyramidFlow.Generation;
using PyramidFlow.Hub;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Dit;

/// <summary>The model of a transformer's training as its configurations describe it: a folder, or a released one that is not on this machine.</summary>
internal sealed class DitModel
{
    private readonly CheckpointFolder? folder;
    private readonly string? variant;

    private DitModel(ModelFamily family, CheckpointFolder? folder, string? variant)
    {
        (Family, this.folder, this.variant) = (family, folder, variant);
        (Transformer, Vae, Settings) = folder is null
            ? (family.Released.Transformer, family.Released.Vae, PipelineSettings.Released(family, variant!))
            : (TransformerConfigs.Load(folder.Transformer(variant).ConfigFile), CausalVideoVaeConfig.Read(folder.Vae.ConfigFile), folder.Settings(variant));
    }

    /// <summary>Which kind of transformer.</summary>
    public ModelFamily Family { get; }

    /// <summary>The transformer.</summary>
    public ITransformerConfig Transformer { get; }

    /// <summary>The VAE.</summary>
    public CausalVideoVaeConfig Vae { get; }

    /// <summary>Settings of its pipelines.</summary>
    public PipelineSettings Settings { get; }

    /// <summary>A model folder.</summary>
    /// <exception cref="CheckpointException">A config is missing or wrong.</exception>
    public static DitModel Of(CheckpointFolder folder, string? variant) => new(folder.Family, folder, variant);

    /// <summary>The model that a configuration names: a folder, an installed model, or a released one.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="config">What it says.</param>
    /// <exception cref="TrainingException">There is no such model.</exception>
    public static DitModel Named(string file, DitConfig config) => Find(config.Model, config.Variant,
        () => Path.Exists(ConfigPaths.FolderOrName(file, "model", config.Model)), () => ConfigPaths.Model(file, "model", config.Model),
        (variant, known) => TrainingFault.UnknownVariant(file, config.Model, variant, known));

    /// <summary>A folder, or a released model that is not there.</summary>
    /// <param name="name">The model as it was named.</param>
    /// <param name="variant">Its transformer; null is the first.</param>
    /// <param name="isHere">Whether a released model is on this machine.</param>
    /// <param name="folder">Finds the folder.</param>
    /// <param name="unknown">The error for a variant that the released model does not have, and those it has.</param>
    public static DitModel Find(string name, string? variant, Func<bool> isHere, Func<string> folder, Func<string, IReadOnlyList<string>, Exception> unknown)
    {
        if (ModelCatalog.FindReleased(name) is not { } released || isHere())
            return Of(CheckpointFolder.Open(folder()), variant);
        var chosen = variant ?? released.Variants[0];
        return released.Variants.Contains(chosen) ? new DitModel(released.Family, null, chosen) : throw unknown(chosen, released.Variants);
    }

    /// <summary>Whether the model is on this machine.</summary>
    public bool IsHere => folder is not null;

    /// <summary>The variant to name in a configuration; null where the folder has one transformer only.</summary>
    public string? Variant => variant ?? (folder is { Variants.Count: > 1 } ? folder.Variants[0] : null);

    /// <summary>T5, the largest text encoder.</summary>
    /// <exception cref="CheckpointException">Its config is missing or wrong.</exception>
    public T5EncoderConfig T5 => folder is null ? Family.Released.T5 : T5EncoderConfig.Read(Text[^1]!.ConfigFile);

    /// <summary>The CLIP models.</summary>
    /// <exception cref="CheckpointException">A config is missing or wrong.</exception>
    public IReadOnlyList<ClipTextConfig> Clips => folder is null ? Family.Released.Clips : [.. Text.SkipLast(1).Select(part => ClipTextConfig.Read(part!.ConfigFile))];

    /// <summary>Weights of the text encoders.</summary>
    /// <exception cref="CheckpointException">A config is missing or wrong.</exception>
    public IEnumerable<WeightSizes> TextSizes() =>
        [.. Clips.Select((clip, i) => Sizes(() => Family.BuildClip(clip), Text[i])), Sizes(() => new T5Encoder(T5), Text[^1])];

    /// <summary>Weights of the VAE.</summary>
    public WeightSizes VaeSizes() => Sizes(() => new CausalVideoVae(Vae), folder?.Vae);

    /// <summary>Weights of the transformer.</summary>
    public WeightSizes TransformerSizes() => Sizes(Transformer.Build, folder?.Transformer(variant));

    /// <summary>Numbers of a LoRA.</summary>
    public static long Adapters(ITransformerConfig transformer, LoraConfig lora)
    {
        using var declared = transformer.Build();
        var layers = LoraAdapters.Layers(declared, lora).ToHashSet();
        return declared.NamedModules().Where(module => layers.Contains(module.Path)).Sum(module => ((Linear)module.Module).Weight.Shape.Sum() * lora.Rank);
    }

    /// <summary>Numbers of the transformer's tables, which training does not change.</summary>
    public static long Tables(ITransformerConfig transformer)
    {
        using var declared = transformer.Build();
        return declared.NamedParameters().Where(p => !p.Parameter.Trainable).Sum(p => p.Parameter.ElementCount);
    }

    private IReadOnlyList<ComponentFolder?> Text => [.. Family.TextComponents.Select(part => folder?.Component(part.TextEncoder))];

    // Weights that are missing or damaged are told when they are loaded.
    private static WeightSizes Sizes(Func<Module> declare, ComponentFolder? component)
    {
        try
        {
            return WeightSizes.Of(declare(), component);
        }
        catch (CheckpointException)
        {
            return WeightSizes.Of(declare(), null);
        }
    }
}
