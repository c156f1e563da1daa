namespace PyramidFlow.Hub;

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
