using System.Text.RegularExpressions;
using PyramidFlow.Hub.Conversion;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Generation;

/// <summary>A checkpoint as described by its configurations: enough to plan a run without its weights.</summary>
internal sealed class PlannedModel
{
    private PlannedModel(string name, ModelFamily family, string variant, PipelineSettings settings, ITransformerConfig transformer, CausalVideoVaeConfig vae,
        IReadOnlyList<ClipTextConfig> clips, T5EncoderConfig t5)
    {
        (Name, Family, Variant, Settings, Transformer, Vae, Clips, T5) = (name, family, variant, settings, transformer, vae, clips, t5);
    }

    /// <summary>The folder's name, or the name of a released checkpoint.</summary>
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

    /// <summary>A released checkpoint, which need not be on this machine.</summary>
    /// <param name="family">Its family.</param>
    /// <param name="variant">384p, 768p or image.</param>
    public static PlannedModel Released(ModelFamily family, string variant)
    {
        var sizes = family.Released;
        return new PlannedModel(family.ReleasedName, family, variant, PipelineSettings.Released(family, variant), sizes.Transformer, sizes.Vae, sizes.Clips, sizes.T5);
    }

    /// <summary>A checkpoint on this machine, with or without its weights.</summary>
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

    /// <summary>The same model with fewer transformer blocks or another VAE, for measurements.</summary>
    /// <param name="blocks">1 to as many as it has.</param>
    /// <param name="vae">A VAE with as many latent channels; null keeps its own.</param>
    internal PlannedModel Cut(int blocks, CausalVideoVaeConfig? vae = null) =>
        new(Name, Family, Variant, Settings, Transformer.WithBlocks(blocks), vae ?? Vae, Clips, T5);

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

/// <summary>Sizes of the weights of a checkpoint's models.</summary>
/// <param name="Text">The text encoders, T5 the last.</param>
/// <param name="Transformer">The transformer.</param>
/// <param name="Vae">The VAE.</param>
/// <param name="VaeDecoder">The part of it that decodes.</param>
internal sealed record ModelSizes(IReadOnlyList<WeightSizes> Text, WeightSizes Transformer, WeightSizes Vae, WeightSizes VaeDecoder)
{
    /// <summary>After a conversion to int8, which leaves CLIP and VAE as they are.</summary>
    internal ModelSizes AsInt8 => new([.. Text.SkipLast(1), Text[^1].AsInt8], Transformer.AsInt8, Vae, VaeDecoder);

    internal IEnumerable<WeightSizes> All => [.. Text, Transformer, Vae];
}

/// <summary>Memory of a model's weights, computed from shapes.</summary>
internal sealed partial class WeightSizes
{
    // For each block, and for the rest under the empty name: numbers in the type of the computation, and bytes of
    // int8 codes.
    private readonly Dictionary<string, (long Floats, long Bytes)> parts = [];
    private readonly WeightSizes? rounded;
    // Types of the file's numbers, which a conversion to int8 keeps; none where there is no file.
    private readonly HashSet<ElementType> storedAs;
    private long largestRounded;

    private WeightSizes(HashSet<ElementType> storedAs, ElementType? numbers, bool isConverted)
    {
        (this.storedAs, Numbers) = (storedAs, numbers);
        rounded = isConverted ? null : new WeightSizes(storedAs, numbers, isConverted: true);
    }

    /// <summary>Number of weights, the factors of int8 weights among them.</summary>
    internal long Count => parts.Values.Sum(part => part.Floats + part.Bytes);

    /// <summary>Whether some of the weights are int8.</summary>
    internal bool IsRounded => largestRounded > 0;

    /// <summary>The same model after a conversion to int8, as far as shapes tell.</summary>
    internal WeightSizes AsInt8 => rounded ?? this;

    /// <summary>Bytes of all weights.</summary>
    internal long Bytes(ElementType type) => parts.Values.Sum(part => Bytes(part, type));

    /// <summary>Most bytes when only the block at work and the next are held; all where there are no blocks.</summary>
    internal long StreamedBytes(ElementType type, DeviceType device)
    {
        var blocks = parts.Where(part => part.Key.Length > 0).Select(part => Bytes(part.Value, type)).OrderDescending().ToList();
        // Prefetched pages of the next block do not count for this process yet.
        return Bytes(type) - blocks.Sum() + blocks.Take(IsMapped(type, device) ? 1 : 2).Sum();
    }

    /// <summary>Whether weights are mapped from the file, so that only pages that were read take memory.</summary>
    internal bool IsMapped(ElementType type, DeviceType device) => device == DeviceType.Cpu && storedAs.SetEquals([type]);

    /// <summary>Whether there is a file of the weights.</summary>
    internal bool IsStored => storedAs.Count > 0;

    /// <summary>The type of the file's numbers, apart from int8 codes and their factors; null where there are several, or no file.</summary>
    internal ElementType? Numbers { get; }

    /// <summary>Bytes of the largest int8 matrix while it is used, in the type of the computation.</summary>
    internal long UnpackedBytes(ElementType type) => largestRounded * type.Size();

    /// <summary>Of a declared model.</summary>
    /// <param name="model">Its shapes; it is disposed.</param>
    /// <param name="folder">The folder of its weights, which tell what is int8; null assumes none.</param>
    internal static WeightSizes Of(Module model, ComponentFolder? folder)
    {
        using (model)
        {
            using var source = folder is not null && HasWeights(folder) ? folder.OpenWeights() : null;
            if (source is not null && model.FindMismatches(source) is [var fault, ..])
                throw CheckpointFault.WeightsDisagree(folder!.ConfigFile, source.Name, fault);
            var held = source?.ForModel([.. model.NamedParameters().Select(named => named.Key)]);
            var stored = model.NamedParameters().Select(named => (named.Key, named.Parameter, Type: held?.Describe(named.Key).Type)).ToList();
            var factors = stored.Where(each => each.Type == ElementType.Int8).Select(each => each.Key + Int8Layers.ScaleSuffix).ToHashSet();
            var numbers = FloatingTypes(stored.Where(each => !factors.Contains(each.Key)).Select(each => each.Type));
            var sizes = new WeightSizes(FloatingTypes(stored.Select(each => each.Type)), numbers.Count == 1 ? numbers.Single() : null, isConverted: false);
            foreach (var (key, parameter, type) in stored)
                sizes.Add(key, parameter, type ?? ElementType.Float32);
            return sizes;
        }
    }

    private static HashSet<ElementType> FloatingTypes(IEnumerable<ElementType?> types) => [.. types.OfType<ElementType>().Where(type => type.IsFloatingPoint())];

    private static bool HasWeights(ComponentFolder folder) => WeightsFile.Choose([.. Directory.GetFiles(folder.Folder).Select(file => Path.GetFileName(file)!)]).Count > 0;

    private static long Bytes((long Floats, long Bytes) part, ElementType type) => (part.Floats * type.Size()) + part.Bytes;

    [GeneratedRegex(@"^(?:encoder\.block|transformer_blocks|single_transformer_blocks)\.\d+\.")]
    private static partial Regex Block { get; }

    private void Add(string key, Parameter parameter, ElementType type)
    {
        var (block, count) = (Block.Match(key).Value, parameter.ElementCount);
        Add(block, count, type);
        if (!Int8Layers.IsCandidate(key, parameter.Shape, type))
        {
            rounded!.Add(block, count, type);
            return;
        }

        rounded!.Add(block, count, ElementType.Int8);
        rounded.Add(block, parameter.Shape[0], type);
    }

    private void Add(string block, long count, ElementType type)
    {
        var (floats, bytes) = parts.GetValueOrDefault(block);
        parts[block] = type.IsFloatingPoint() ? (floats + count, bytes) : (floats, bytes + (count * type.Size()));
        if (type == ElementType.Int8)
            largestRounded = Math.Max(largestRounded, count);
    }
}
