using PyramidFlow.Hub;
using PyramidFlow.Models.Text;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Models;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Memory;

/// <summary>A checkpoint as far as its configs tell: enough to know what a run will take, without its weights.</summary>
public sealed class PlannedModel
{
    private PlannedModel(string name, ModelFamily family, string variant, PipelineSettings settings, ITransformerConfig transformer, CausalVideoVaeConfig vae,
        IReadOnlyList<ClipTextConfig> clips, T5EncoderConfig t5)
    {
        (Name, Family, Variant, Settings, Transformer, Vae, Clips, T5) = (name, family, variant, settings, transformer, vae, clips, t5);
    }

    /// <summary>What to call it: the folder, or the name of a released one.</summary>
    public string Name { get; }

    /// <summary>Which kind of transformer.</summary>
    public ModelFamily Family { get; }

    /// <summary>Which transformer of the checkpoint; empty for the only one.</summary>
    public string Variant { get; }

    /// <summary>The checkpoint's defaults.</summary>
    public PipelineSettings Settings { get; }

    /// <summary>The transformer.</summary>
    public ITransformerConfig Transformer { get; }

    /// <summary>The VAE.</summary>
    public CausalVideoVaeConfig Vae { get; }

    /// <summary>One CLIP, or two with projection.</summary>
    public IReadOnlyList<ClipTextConfig> Clips { get; }

    /// <summary>T5.</summary>
    public T5EncoderConfig T5 { get; }

    /// <summary>A released checkpoint, which need not be here.</summary>
    /// <param name="family">Its family.</param>
    /// <param name="variant">384p, 768p or image.</param>
    public static PlannedModel Released(ModelFamily family, string variant)
    {
        var sizes = family.Released;
        return new PlannedModel(family.ReleasedName, family, variant, PipelineSettings.Released(family, variant), sizes.Transformer, sizes.Vae, sizes.Clips, sizes.T5);
    }

    /// <summary>A checkpoint that is here, with or without its weights.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="variant">Which transformer; null is the first.</param>
    /// <exception cref="CheckpointException">A config is missing or wrong, or weights that are there are damaged.</exception>
    public static PlannedModel Of(CheckpointFolder folder, string? variant = null)
    {
        var text = folder.Family.TextComponents;
        var model = new PlannedModel(Path.GetFileName(folder.Root), folder.Family, variant ?? folder.Variants[0], folder.Settings(variant),
            TransformerConfigs.Load(folder.Transformer(variant).ConfigFile), CausalVideoVaeConfig.Read(folder.Vae.ConfigFile),
            [.. text.SkipLast(1).Select(part => ClipTextConfig.Read(folder.Component(part.TextEncoder).ConfigFile))],
            T5EncoderConfig.Read(folder.Component(text[^1].TextEncoder).ConfigFile));
        model.Sizes = model.Measure(folder, variant);
        return model;
    }

    /// <summary>The same model after a conversion to int8 (<c>models convert --int8</c>), as far as shapes tell; null where it is one.</summary>
    public PlannedModel? AsInt8 => Sizes.Transformer.IsRounded
        ? null
        : new PlannedModel($"{Name}-int8", Family, Variant, Settings, Transformer, Vae, Clips, T5) { Sizes = Sizes.AsInt8 };

    /// <summary>Weights of the text encoders, the transformer and the VAE.</summary>
    internal ModelSizes Sizes { get => field ??= Measure(null, null); private set; }

    private ModelSizes Measure(CheckpointFolder? folder, string? variant)
    {
        var text = Family.TextComponents;
        return new ModelSizes(
            [
                .. Clips.Select((clip, i) => WeightSizes.Of(Family.BuildClip(clip), folder?.Component(text[i].TextEncoder))),
                WeightSizes.Of(new T5Encoder(T5), folder?.Component(text[^1].TextEncoder)),
            ],
            WeightSizes.Of(Transformer.Build(), folder?.Transformer(variant)),
            WeightSizes.Of(new CausalVideoVae(Vae), folder?.Vae),
            WeightSizes.Of(CausalVaeCoder.Decoder(Vae), null));
    }
}
