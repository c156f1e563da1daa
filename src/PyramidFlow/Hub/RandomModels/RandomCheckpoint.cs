using System.Text.Json;
using System.Text.Json.Nodes;
using PyramidFlow.Models;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub.RandomModels;

/// <summary>Names of the checkpoints that a random one can imitate.</summary>
internal static class RandomLayout
{
    /// <summary>The sprites model of this repository.</summary>
    public const string Sprites = "sprites";

    /// <summary>All layouts: the released checkpoint of each family (<see cref="ModelFamily.ShortName"/>), variant 384p, and <see cref="Sprites"/>.</summary>
    public static IReadOnlyList<string> All => [.. ModelFamilies.All.Select(family => family.ShortName), Sprites];

    /// <summary>The family of a layout.</summary>
    /// <exception cref="ArgumentException">There is no such layout.</exception>
    internal static ModelFamily Family(string layout) => layout == Sprites ? ModelFamilies.Flux
        : ModelFamilies.All.FirstOrDefault(family => family.ShortName == layout)
            ?? throw new ArgumentException($"there is no layout {layout}: use {string.Join(", ", All)}");
}

/// <summary>Size of a random checkpoint.</summary>
internal enum RandomScale
{
    /// <summary>A few thousand weights, for tests: 64x64 pixels in a second.</summary>
    Tiny,

    /// <summary>A transformer of the released width with three blocks, and tiny text encoders and VAE: to measure a transformer without much memory.</summary>
    Wide,

    /// <summary>The released sizes.</summary>
    Real,
}

/// <summary>Options of <see cref="RandomCheckpoint"/>.</summary>
/// <param name="Layout">Checkpoint to imitate, one of <see cref="RandomLayout.All"/>.</param>
/// <param name="Scale">Size.</param>
/// <param name="Seed">Seed of the weights; equal seeds give equal files.</param>
internal sealed record RandomOptions(string Layout, RandomScale Scale = RandomScale.Real, ulong Seed = 0);

/// <summary>
/// Writes checkpoints in the released layout with random weights, for tests and to try whether a model of real size runs on a machine
/// before downloading it. Weights are written without holding a model in memory. The tokenizers know few words and spell the others.
/// </summary>
internal static class RandomCheckpoint
{
    private static readonly string[] Words =
    [
        "a", "an", "the", "of", "in", "on", "at", "and", "with", "over", "under", "to", "from", "is", "are",
        "red", "green", "blue", "white", "black", "small", "large", "man", "woman", "cat", "dog", "bird", "ball", "tree", "house", "sea", "sky",
        "moves", "moving", "running", "walking", "falling", "left", "right", "up", "down", "background", "quality", "ultra",
    ];

    /// <summary>Writes a checkpoint folder.</summary>
    /// <param name="folder">A new or empty folder; it appears when it is complete.</param>
    /// <param name="options">Layout, size and seed.</param>
    /// <param name="progress">Receives progress every few megabytes, from any thread.</param>
    /// <param name="cancellationToken">Stops within a few megabytes and removes the folder.</param>
    /// <exception cref="CheckpointException">The folder is not empty, or its disk is too small.</exception>
    public static void Write(string folder, RandomOptions options, IProgress<WorkProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        var family = RandomLayout.Family(options.Layout);
        var text = family.TextComponents;
        using var target = NewFolder.Begin(folder, 0);
        foreach (var (tokenizer, _) in text.SkipLast(1))
            WordTokenizerFiles.WriteClip(Path.Combine(target.Path, tokenizer), Words);
        WordTokenizerFiles.WriteT5(Path.Combine(target.Path, text[^1].Tokenizer), Words);
        var clipRows = ClipTokenizer.Load(Path.Combine(target.Path, text[0].Tokenizer)).VocabularySize;
        var t5Rows = T5Tokenizer.Load(Path.Combine(target.Path, text[^1].Tokenizer)).VocabularySize;
        var sizes = RandomSizes.For(options.Layout, options.Scale, clipRows, t5Rows);
        var parts = Parts(sizes, family, options.Scale);
        var total = parts.Sum(part => part.Bytes);
        if (DiskSpace.Shortage(folder, total) is { } shortage)
            throw CheckpointFault.DiskTooSmall(folder, shortage);

        long written = 0;
        var weights = new RandomWeights(options.Seed, (part, bytes) => progress?.Report(new WorkProgress(part, Interlocked.Add(ref written, bytes), total)), cancellationToken);
        foreach (var part in parts)
            part.Write(target.Path, weights);
        sizes.Settings?.Write(Path.Combine(target.Path, PipelineSettings.FileName));
        target.Complete();
    }

    internal static List<RandomPart> Parts(RandomSizes sizes, ModelFamily family, RandomScale scale)
    {
        var text = family.TextComponents;
        var parts = new List<RandomPart>
        {
            new(sizes.TransformerFolder, sizes.Transformer.ClassName, sizes.Transformer.ToJson(), sizes.Transformer.Build()),
            new(CheckpointNames.Vae, CausalVideoVaeConfig.ClassName, sizes.Vae.ToJson(), new CausalVideoVae(sizes.Vae)),
        };
        foreach (var (config, i) in sizes.Clips.Select((config, i) => (config, i)))
        {
            parts.Add(new RandomPart(text[i].TextEncoder, family.ClipClassName,
                JsonSerializer.Serialize(config, TextEncoderJson.Default.ClipTextConfig),
                family.BuildClip(config)));
        }

        var t5 = new RandomPart(text[^1].TextEncoder, "T5EncoderModel",
            JsonSerializer.Serialize(sizes.T5, TextEncoderJson.Default.T5EncoderConfig), new T5Encoder(sizes.T5));
        // The released encoder is stored in two files; a tiny one is split too, so that tests read shards.
        parts.Add(scale != RandomScale.Real ? t5 with { ShardBytes = t5.Bytes * 3 / 4 } : t5);
        return parts;
    }
}

/// <summary>One model of a random checkpoint, declared without weights in memory.</summary>
/// <param name="Folder">Name of its folder.</param>
/// <param name="ClassName">Class name in the released system.</param>
/// <param name="Config">Text of its <c>config.json</c>.</param>
/// <param name="Model">The model, for names and shapes of its weights.</param>
/// <param name="ShardBytes">Maximum size of a file, bytes.</param>
internal sealed record RandomPart(string Folder, string ClassName, string Config, Module Model, long ShardBytes = RandomPart.ReleasedShardBytes)
{
    /// <summary>Maximum size of a file in the released text encoders.</summary>
    internal const long ReleasedShardBytes = 5_000_000_000;

    /// <summary>Declarations of all weights, in bfloat16.</summary>
    internal IReadOnlyList<TensorDeclaration> Tensors { get; } =
        [.. Model.NamedParameters().Select(p => new TensorDeclaration(p.Key, ElementType.BFloat16, p.Parameter.Shape))];

    /// <summary>Total size of the weights, bytes.</summary>
    internal long Bytes => Tensors.Sum(tensor => tensor.ByteLength);

    /// <summary>Whether the folder is in the format of transformers (text encoders) or of diffusers (all others).</summary>
    private bool IsText => Folder.StartsWith("text_encoder", StringComparison.Ordinal);

    /// <summary>Writes config and weights.</summary>
    /// <param name="root">The checkpoint folder.</param>
    /// <param name="weights">Writes the random values.</param>
    internal void Write(string root, RandomWeights weights)
    {
        var folder = Path.Combine(root, Folder);
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, ComponentFolder.ConfigName), IsText ? WithArchitecture() : ConfigFile.WithClass(ClassName, Config));
        var parameters = Model.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter);
        ShardedWriter.Write(folder, IsText ? "model" : "diffusion_pytorch_model", Tensors, ShardBytes,
            (file, entry) => weights.Fill(file, entry, parameters[entry.Name], Folder));
    }

    private string WithArchitecture()
    {
        var config = JsonNode.Parse(Config)!.AsObject();
        config["architectures"] = new JsonArray(ClassName);
        return config.ToJsonString(new() { WriteIndented = true });
    }
}
