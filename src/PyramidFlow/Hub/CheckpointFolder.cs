using PyramidFlow.Models;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub;

/// <summary>
/// A checkpoint in the released layout: folders <c>diffusion_transformer_384p</c>, <c>_768p</c>, <c>_image</c> (one is
/// enough; a plain <c>diffusion_transformer</c> serves too), <c>causal_video_vae</c>, text encoders and tokenizers, and at
/// the root an optional <c>pipeline.json</c>.
/// </summary>
public sealed class CheckpointFolder
{
    private CheckpointFolder(string path, IReadOnlyList<string> variants)
    {
        Root = path;
        Variants = variants;
        Family = ReadFamily();
    }

    /// <summary>Full path of the folder.</summary>
    public string Root { get; }

    /// <summary>
    /// What follows <c>diffusion_transformer_</c>; empty for the plain folder. Never without an element; the first is the
    /// default: plain, 384p, 768p, image, then others.
    /// </summary>
    public IReadOnlyList<string> Variants { get; }

    /// <summary>Which kind of diffusion transformer it holds.</summary>
    public ModelFamily Family { get; }

    /// <summary>The video VAE.</summary>
    public ComponentFolder Vae => Component(CheckpointNames.Vae);

    /// <summary>Whether a folder is there and holds a diffusion transformer.</summary>
    public static bool IsCheckpoint(string path) =>
        Directory.Exists(path) && Directory.EnumerateDirectories(path, CheckpointNames.Transformer + "*").Any();

    /// <summary>Looks at a folder; opens nothing but a transformer's config.</summary>
    /// <exception cref="CheckpointException">It does not exist or holds no diffusion transformer.</exception>
    public static CheckpointFolder Open(string path)
    {
        if (!Directory.Exists(path))
            throw new CheckpointException($"{path} does not exist: name the folder of a checkpoint");
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        if (Path.GetFileName(full).StartsWith(CheckpointNames.Transformer, StringComparison.Ordinal))
            throw new CheckpointException($"{path} is one model of a checkpoint: name the folder around it, {Path.GetDirectoryName(full)}");
        var variants = CheckpointNames.Variants(Directory.GetDirectories(full).Select(folder => Path.GetFileName(folder)));
        return variants.Count > 0
            ? new CheckpointFolder(full, variants)
            : throw new CheckpointException($"{path} is not a checkpoint folder: it needs "
                + string.Join(", ", ((string[])["384p", "768p", "image"]).Select(CheckpointNames.TransformerOf)) + $" or {CheckpointNames.Transformer}");
    }

    /// <summary>The diffusion transformer of a variant.</summary>
    /// <param name="variant">One of <see cref="Variants"/>; null takes the first.</param>
    /// <exception cref="CheckpointException">There is no such variant here.</exception>
    public ComponentFolder Transformer(string? variant = null)
    {
        var name = CheckpointNames.TransformerOf(variant ?? Variants[0]);
        return variant is null || Variants.Contains(variant)
            ? Component(name)
            : throw new CheckpointException(
                $"{Root} has no {name}, only {string.Join(", ", Variants.Select(CheckpointNames.TransformerOf))}: use one of these, or download it");
    }

    /// <summary>A component by its folder name, such as <c>text_encoder_2</c>.</summary>
    /// <exception cref="CheckpointException">The folder is missing.</exception>
    public ComponentFolder Component(string name)
    {
        var folder = Path.Combine(Root, name);
        if (Directory.Exists(folder))
            return new ComponentFolder(name, folder);
        throw new CheckpointException($"{Root} has no {name} folder: download it, or copy it there");
    }

    /// <summary>The settings a pipeline runs with: <c>pipeline.json</c> over the released defaults.</summary>
    /// <param name="variant">One of <see cref="Variants"/>; null takes the first.</param>
    /// <exception cref="CheckpointException"><c>pipeline.json</c> is damaged or has an impossible value.</exception>
    public PipelineSettings Settings(string? variant = null)
    {
        var defaults = PipelineSettings.Released(Family, variant ?? Variants[0]);
        var file = Path.Combine(Root, PipelineSettings.FileName);
        return File.Exists(file) ? PipelineSettings.Read(file, defaults) : defaults;
    }

    // One damaged variant must not hide the others.
    private ModelFamily ReadFamily()
    {
        CheckpointException? first = null;
        foreach (var variant in Variants)
        {
            try
            {
                return ModelFamilies.Read(Transformer(variant).ConfigFile);
            }
            catch (CheckpointException e)
            {
                first ??= e;
            }
        }

        throw first!;
    }
}

/// <summary>One model or tokenizer of a checkpoint folder.</summary>
/// <param name="Name">Folder name, such as <c>causal_video_vae</c>.</param>
/// <param name="Folder">Full path; it exists.</param>
public sealed record ComponentFolder(string Name, string Folder)
{
    /// <summary>Name of the file that describes a model.</summary>
    public const string ConfigName = "config.json";

    /// <summary>Path of its <c>config.json</c>.</summary>
    public string ConfigFile => Path.Combine(Folder, ConfigName);

    /// <summary>Opens its weights; see <see cref="WeightsFile.Open"/>.</summary>
    /// <exception cref="CheckpointException">Weights are missing, damaged or cut off.</exception>
    public StateSource OpenWeights() => WeightsFile.Open(Folder);
}

/// <summary>What the folders of a checkpoint are called in the released layout.</summary>
public static class CheckpointNames
{
    /// <summary>The diffusion transformer, alone or followed by <c>_</c> and a variant.</summary>
    public const string Transformer = "diffusion_transformer";

    /// <summary>The video VAE.</summary>
    public const string Vae = "causal_video_vae";

    private static readonly string[] KnownVariants = ["", "384p", "768p", "image"];

    /// <summary>Folder of a variant.</summary>
    /// <param name="variant">What follows <c>diffusion_transformer_</c>; empty for the plain folder.</param>
    public static string TransformerOf(string variant) => variant.Length == 0 ? Transformer : $"{Transformer}_{variant}";

    /// <summary>The variants among some folders, the default first: plain, 384p, 768p, image, then others.</summary>
    /// <param name="folders">Names of folders side by side, each once.</param>
    public static IReadOnlyList<string> Variants(IEnumerable<string> folders) =>
        [.. folders
            .Where(folder => folder.StartsWith(Transformer, StringComparison.Ordinal))
            .Select(folder => folder[Transformer.Length..])
            .Where(suffix => suffix.Length == 0 || (suffix.Length > 1 && suffix[0] == '_'))
            .Select(suffix => suffix.TrimStart('_'))
            .OrderBy(variant => Array.IndexOf(KnownVariants, variant) is var at and >= 0 ? at : int.MaxValue)
            .ThenBy(variant => variant, StringComparer.Ordinal)];
}
