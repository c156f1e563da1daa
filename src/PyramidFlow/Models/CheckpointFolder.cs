using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models;

/// <summary>
/// A checkpoint in the released layout: folders <c>diffusion_transformer_384p</c>, <c>_768p</c>, <c>_image</c> (one is
/// enough; a plain <c>diffusion_transformer</c> also works), <c>causal_video_vae</c>, text encoders and tokenizers, and at
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
    /// Names after <c>diffusion_transformer_</c>; the empty name is the plain folder. There is at least one, and the first is the
    /// default. Order: plain, 384p, 768p, image, then others.
    /// </summary>
    public IReadOnlyList<string> Variants { get; }

    /// <summary>Family of its diffusion transformers.</summary>
    public ModelFamily Family { get; }

    /// <summary>Folder of the video VAE.</summary>
    public ComponentFolder Vae => Component(CheckpointNames.Vae);

    /// <summary>Whether a folder exists and contains a diffusion transformer.</summary>
    public static bool IsCheckpoint(string path) =>
        Directory.Exists(path) && Directory.EnumerateDirectories(path, CheckpointNames.Transformer + "*").Any();

    /// <summary>Opens a checkpoint folder; reads only the config of a transformer.</summary>
    /// <exception cref="CheckpointException">The folder does not exist or contains no diffusion transformer.</exception>
    public static CheckpointFolder Open(string path)
    {
        if (!Directory.Exists(path))
            throw CheckpointFault.CheckpointMissing(path);
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        if (Path.GetFileName(full).StartsWith(CheckpointNames.Transformer, StringComparison.Ordinal))
            throw CheckpointFault.FolderOfOneModel(path, Path.GetDirectoryName(full));
        var variants = CheckpointNames.Variants(Directory.GetDirectories(full).Select(folder => Path.GetFileName(folder)));
        return variants.Count > 0
            ? new CheckpointFolder(full, variants)
            : throw CheckpointFault.NotACheckpoint(path,
                string.Join(", ", ((string[])["384p", "768p", "image"]).Select(CheckpointNames.TransformerOf)) + $" or {CheckpointNames.Transformer}");
    }

    /// <summary>Folder of the diffusion transformer of a variant.</summary>
    /// <param name="variant">One of <see cref="Variants"/>; null takes the first.</param>
    /// <exception cref="CheckpointException">The checkpoint has no such variant.</exception>
    public ComponentFolder Transformer(string? variant = null)
    {
        var name = CheckpointNames.TransformerOf(variant ?? Variants[0]);
        return variant is null || Variants.Contains(variant)
            ? Component(name)
            : throw CheckpointFault.NoSuchVariant(Root, variant, name, Variants.Select(CheckpointNames.TransformerOf));
    }

    /// <summary>Folder of a component, such as <c>text_encoder_2</c>.</summary>
    /// <exception cref="CheckpointException">The folder is missing.</exception>
    public ComponentFolder Component(string name)
    {
        var folder = Path.Combine(Root, name);
        if (Directory.Exists(folder))
            return new ComponentFolder(name, folder);
        throw CheckpointFault.ComponentMissing(Root, name);
    }

    /// <summary>Default settings of a pipeline: the released ones, overridden by <c>pipeline.json</c>.</summary>
    /// <param name="variant">One of <see cref="Variants"/>; null takes the first.</param>
    /// <exception cref="CheckpointException"><c>pipeline.json</c> is damaged or has an invalid value.</exception>
    public PipelineSettings Settings(string? variant = null)
    {
        var defaults = PipelineSettings.Released(Family, variant ?? Variants[0]);
        var file = Path.Combine(Root, PipelineSettings.FileName);
        return File.Exists(file) ? PipelineSettings.Read(file, defaults) : defaults;
    }

    // The family is that of the first variant whose config is readable: one damaged variant must not hide the others.
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

/// <summary>Folder of one model or tokenizer of a checkpoint.</summary>
/// <param name="Name">Folder name, such as <c>causal_video_vae</c>.</param>
/// <param name="Folder">Full path; it exists.</param>
public sealed record ComponentFolder(string Name, string Folder)
{
    /// <summary>Name of a model's config file.</summary>
    public const string ConfigName = "config.json";

    /// <summary>Path of its <c>config.json</c>.</summary>
    public string ConfigFile => Path.Combine(Folder, ConfigName);

    /// <summary>Opens the weights; see <see cref="WeightsFile.Open"/>.</summary>
    /// <exception cref="CheckpointException">Weights are missing, damaged or cut off.</exception>
    public StateSource OpenWeights() => WeightsFile.Open(Folder);
}

/// <summary>Folder names of the released layout.</summary>
public static class CheckpointNames
{
    /// <summary>Folder of a diffusion transformer, alone or followed by <c>_</c> and a variant.</summary>
    public const string Transformer = "diffusion_transformer";

    /// <summary>Folder of the video VAE.</summary>
    public const string Vae = "causal_video_vae";

    private static readonly string[] KnownVariants = ["", "384p", "768p", "image"];

    /// <summary>Folder name of a variant.</summary>
    /// <param name="variant">Name after <c>diffusion_transformer_</c>; empty for the plain folder.</param>
    public static string TransformerOf(string variant) => variant.Length == 0 ? Transformer : $"{Transformer}_{variant}";

    /// <summary>Variants among some folders, the default first. Order: plain, 384p, 768p, image, then others.</summary>
    /// <param name="folders">Names of the folders, without repetition.</param>
    public static IReadOnlyList<string> Variants(IEnumerable<string> folders) =>
        [.. folders
            .Where(folder => folder.StartsWith(Transformer, StringComparison.Ordinal))
            .Select(folder => folder[Transformer.Length..])
            .Where(suffix => suffix.Length == 0 || (suffix.Length > 1 && suffix[0] == '_'))
            .Select(suffix => suffix.TrimStart('_'))
            .OrderBy(variant => Array.IndexOf(KnownVariants, variant) is var at and >= 0 ? at : int.MaxValue)
            .ThenBy(variant => variant, StringComparer.Ordinal)];
}
