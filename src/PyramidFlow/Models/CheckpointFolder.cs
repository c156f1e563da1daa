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
    private readonly IReadOnlyDictionary<string, string> replaced = new Dictionary<string, string>();
    private readonly string? settingsFile;

    private CheckpointFolder(string path, IReadOnlyList<string> variants)
    {
        Root = path;
        Variants = variants;
        Family = ReadFamily();
    }

    private CheckpointFolder(CheckpointFolder own, IReadOnlyDictionary<string, string> replaced, string? settingsFile)
    {
        (Root, Variants, Family) = (own.Root, own.Variants, own.Family);
        (this.replaced, this.settingsFile) = (replaced, settingsFile);
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

    /// <summary>
    /// The checkpoint with models of training runs in place of its own. A transformer brings the settings that its run published; text encoders, tokenizers
    /// and everything else stay those of the checkpoint. Only configurations are read.
    /// </summary>
    /// <param name="transformer">Folder of a run of <c>train dit</c>, or of a transformer; null keeps the checkpoint's.</param>
    /// <param name="vae">Folder of a run of <c>train vae</c>, or of a VAE; null keeps the checkpoint's.</param>
    /// <param name="variant">The transformer to replace, one of <see cref="Variants"/>; null takes the first.</param>
    /// <exception cref="CheckpointException">A folder holds no such model, or one of another family or size.</exception>
    public CheckpointFolder With(string? transformer, string? vae, string? variant = null)
    {
        if (transformer is null && vae is null)
            return this;
        var parts = new Dictionary<string, string>(replaced);
        var trained = transformer is null ? null : RunParts.Find(transformer, CheckpointNames.Transformer);
        var trainedVae = vae is null ? null : RunParts.Find(vae, CheckpointNames.Vae);
        RunParts.CheckFit(this, variant, trained is null ? null : (transformer!, trained), trainedVae is null ? null : (vae!, trainedVae));
        if (trained is not null)
            parts[Transformer(variant).Name] = trained.Folder;
        if (trainedVae is not null)
            parts[CheckpointNames.Vae] = trainedVae.Folder;
        return new CheckpointFolder(this, parts, trained is null ? settingsFile : RunParts.Settings(trained));
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
        var folder = PathOf(name);
        if (Directory.Exists(folder))
            return new ComponentFolder(name, folder);
        throw CheckpointFault.ComponentMissing(Root, name);
    }

    /// <summary>Whether a component is that of a run (<see cref="With"/>).</summary>
    internal bool IsReplaced(string name) => replaced.ContainsKey(name);

    /// <summary>Whether there is a folder of a component.</summary>
    internal bool Has(string name) => Directory.Exists(PathOf(name));

    /// <summary>
    /// Default settings of a pipeline: the released ones, overridden by <c>pipeline.json</c>, which is that of the run where a run's transformer is used, and then by a <c>pipeline.json</c> in the
    /// folder of the transformer, such as that of a variant that is distilled to few steps.
    /// </summary>
    /// <param name="variant">One of <see cref="Variants"/>; null takes the first.</param>
    /// <exception cref="CheckpointException"><c>pipeline.json</c> is damaged or has an invalid value.</exception>
    public PipelineSettings Settings(string? variant = null)
    {
        var defaults = PipelineSettings.Released(Family, variant ?? Variants[0]);
        var settings = SettingsFile is { } file ? PipelineSettings.Read(file, defaults) : defaults;
        var own = Path.Combine(PathOf(CheckpointNames.TransformerOf(variant ?? Variants[0])), PipelineSettings.FileName);
        return File.Exists(own) ? PipelineSettings.Read(own, settings) : settings;
    }

    /// <summary>The file of the settings of all transformers; null where there is none.</summary>
    internal string? SettingsFile
    {
        get
        {
            var file = settingsFile ?? Path.Combine(Root, PipelineSettings.FileName);
            return File.Exists(file) ? file : null;
        }
    }

    private string PathOf(string name) => replaced.GetValueOrDefault(name) ?? Path.Combine(Root, name);

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
