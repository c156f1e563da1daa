using System.Collections.Immutable;
using System.Text.Json;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// A family of checkpoints: the kind of its diffusion transformer, and the text encoders and latent statistics that go with it. All knowledge that
/// differs between families is here; everything else treats them alike.
/// </summary>
public abstract class ModelFamily
{
    /// <summary>The name in reports, such as <c>pyramid_flux</c>.</summary>
    public abstract string Name { get; }

    /// <summary>The model the family is derived from, for people.</summary>
    public abstract string Title { get; }

    /// <summary>The name on a command line, such as <c>miniflux</c>.</summary>
    public abstract string ShortName { get; }

    /// <summary>The name of the released checkpoint.</summary>
    public abstract string ReleasedName { get; }

    /// <summary><c>_class_name</c> of the transformer in a <c>config.json</c>.</summary>
    public abstract string ClassName { get; }

    /// <summary>Folders of tokenizers and text encoders, in the order of the released layout: the CLIP models, then T5.</summary>
    public abstract IReadOnlyList<(string Tokenizer, string TextEncoder)> TextComponents { get; }

    /// <summary>Latent statistics of the released checkpoint.</summary>
    public abstract LatentNormalization Latent { get; }

    /// <summary>Sizes of the released checkpoint's models.</summary>
    public abstract CheckpointSizes Released { get; }

    /// <summary>Sizes of a checkpoint of a few thousand weights, for tests.</summary>
    /// <param name="clipRows">Rows of each CLIP's token table.</param>
    /// <param name="t5Rows">Rows of T5's token table.</param>
    public abstract CheckpointSizes Tiny(int clipRows, int t5Rows);

    /// <summary>The same with a transformer of the released width and three blocks, to measure it; a family without one gives <see cref="Tiny"/>.</summary>
    /// <inheritdoc cref="Tiny"/>
    public virtual CheckpointSizes Wide(int clipRows, int t5Rows) => Tiny(clipRows, t5Rows);

    /// <summary>Whether a <c>config.json</c> without a class name has the keys of this family's transformer.</summary>
    public abstract bool HasKeysOf(IReadOnlyDictionary<string, JsonElement> config);

    /// <summary>Reads and checks the transformer's <c>config.json</c> of a checkpoint; sets the values that the released system sets itself.</summary>
    /// <exception cref="CheckpointException">The file is missing, or a key is missing or impossible.</exception>
    public abstract ITransformerConfig LoadConfig(string path);

    /// <summary>Reads and checks the text of a transformer's <c>config.json</c>, without changing any value.</summary>
    /// <param name="json">The text.</param>
    /// <param name="name">The file's name in errors.</param>
    /// <exception cref="CheckpointException">A key is missing or impossible.</exception>
    public abstract ITransformerConfig ParseConfig(string json, string name);

    /// <summary>Reads a transformer's configuration inside another file, unchecked.</summary>
    public abstract ITransformerConfig DeserializeConfig(JsonElement json);

    /// <summary><c>_class_name</c> of the CLIP models.</summary>
    public abstract string ClipClassName { get; }

    /// <summary>Declares a CLIP model; it has no weights yet.</summary>
    public abstract Module BuildClip(ClipTextConfig config);

    /// <summary>Width of the pooled feature that one CLIP model contributes; 0 where its settings lack it.</summary>
    public abstract long PooledWidth(ClipTextConfig config);

    /// <summary>Joins tokenizers and encoders, which the result owns.</summary>
    /// <param name="clips">CLIP tokenizers and the models of <see cref="BuildClip"/>.</param>
    /// <param name="t5Tokenizer">Tokenizer of T5.</param>
    /// <param name="t5">The T5 encoder.</param>
    public abstract PromptEncoder CreatePromptEncoder(IReadOnlyList<(ClipTokenizer Tokenizer, Module Model)> clips, T5Tokenizer t5Tokenizer, T5Encoder t5);

    /// <inheritdoc/>
    public override string ToString() => Name;
}

/// <summary>Sizes of all models of a checkpoint.</summary>
/// <param name="Transformer">The diffusion transformer.</param>
/// <param name="Vae">The VAE.</param>
/// <param name="Clips">The CLIP models.</param>
/// <param name="T5">The T5 encoder.</param>
public sealed record CheckpointSizes(ITransformerConfig Transformer, CausalVideoVaeConfig Vae, IReadOnlyList<ClipTextConfig> Clips, T5EncoderConfig T5)
{
    private const int Positions = ClipTokenizer.DefaultMaxLength;

    // The end token of a text is the one with the largest id.
    private const int LargestId = 2;

    /// <summary>CLIP-L.</summary>
    public static ClipTextConfig ClipL => new(49408, 768, 3072, 12, 12, Positions, LargestId, ProjectionDim: 768);

    /// <summary>CLIP-G, with projection.</summary>
    public static ClipTextConfig ClipG => new(49408, 1280, 5120, 32, 20, Positions, LargestId, "gelu", ProjectionDim: 1280);

    /// <summary>The encoder of T5-XXL.</summary>
    public static T5EncoderConfig T5Xxl => new(32128, 4096, 64, 10240, 24, 64, FeedForwardProj: "gated-gelu");

    /// <summary>A VAE of a few thousand weights.</summary>
    public static CausalVideoVaeConfig TinyVae => CausalVideoVaeConfig.Uniform([8, 8, 8, 8], 1, 1, latentChannels: 4, groups: 2);

    /// <summary>A CLIP of a few thousand weights.</summary>
    public static ClipTextConfig TinyClip(int rows) => new(rows, 32, 32, 1, 2, Positions, LargestId, ProjectionDim: 32);

    /// <summary>A T5 encoder of a few thousand weights.</summary>
    public static T5EncoderConfig TinyT5(int rows) => new(rows, 32, 16, 32, 1, 2, FeedForwardProj: "gated-gelu");
}

/// <summary>All families by name. The folder of a family adds it in a part of this class of its own, so no list elsewhere changes.</summary>
public static partial class ModelFamilies
{
    // Without an initializer, which might run after those in the families' files.
    private static ImmutableSortedDictionary<string, ModelFamily>? known;

    /// <summary>The families, in the order of their names.</summary>
    public static IReadOnlyList<ModelFamily> All => [.. known!.Values];

    /// <summary>The family of a <see cref="ModelFamily.Name"/>.</summary>
    /// <exception cref="ArgumentException">There is none.</exception>
    public static ModelFamily Get(string name) =>
        known!.GetValueOrDefault(name) ?? throw new ArgumentException($"there is no family {name}: use {string.Join(" or ", known!.Keys)}");

    /// <summary>The family of a transformer.</summary>
    public static ModelFamily For(ITransformerConfig config) => All.First(family => family.ClassName == config.ClassName);

    /// <summary>Adds a family.</summary>
    /// <returns>The same family.</returns>
    /// <exception cref="ArgumentException">Another one has its name.</exception>
    public static ModelFamily Register(ModelFamily family)
    {
        ImmutableInterlocked.Update(ref known, all => (all ?? ImmutableSortedDictionary.Create<string, ModelFamily>(StringComparer.Ordinal)).Add(family.Name, family));
        return family;
    }

    /// <summary>Finds the family of a transformer's <c>config.json</c>: by its class name, else by its keys.</summary>
    /// <exception cref="CheckpointException">The file is missing, is not JSON or describes no known family.</exception>
    public static ModelFamily Read(string configFile) =>
        Find(ConfigFile.Read(configFile, ConfigJson.Default.DictionaryStringJsonElement), configFile);

    /// <summary>The same from JSON in memory.</summary>
    /// <param name="utf8Json">The JSON object.</param>
    /// <param name="file">The file's name in errors.</param>
    /// <exception cref="CheckpointException">It is not JSON or describes no known family.</exception>
    public static ModelFamily Parse(ReadOnlyMemory<byte> utf8Json, string file) =>
        Find(ConfigFile.Parse(utf8Json, file, ConfigJson.Default.DictionaryStringJsonElement), file);

    private static ModelFamily Find(Dictionary<string, JsonElement> keys, string configFile)
    {
        var name = keys.TryGetValue("_class_name", out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        if (All.FirstOrDefault(family => name is null ? family.HasKeysOf(keys) : family.ClassName == name) is { } found)
            return found;
        throw name is null
            ? CheckpointFault.UnknownFamily(configFile)
            : CheckpointFault.UnknownFamily(configFile, name, All.Select(family => family.ClassName));
    }
}
