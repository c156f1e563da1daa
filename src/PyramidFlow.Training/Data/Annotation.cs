namespace PyramidFlow.Training.Data;

/// <summary>One line of an annotation file; its paths are absolute.</summary>
/// <param name="File">The annotation file.</param>
/// <param name="Line">Line in it, from 1.</param>
public sealed record Annotation(string File, int Line)
{
    /// <summary>The video, or null.</summary>
    public string? Video { get; init; }

    /// <summary>The still image, or null; there is never a video too.</summary>
    public string? Image { get; init; }

    /// <summary>The caption, or null; the empty text is a caption.</summary>
    public string? Text { get; init; }

    /// <summary>File of the VAE's latents, or null.</summary>
    public string? Latent { get; init; }

    /// <summary>File of the caption's features (<c>text_fea</c>), or null.</summary>
    public string? TextFeatures { get; init; }

    /// <summary>Which of the video's frames make the clip, from 0, each once and rising; null takes them by time.</summary>
    public IReadOnlyList<int>? Frames { get; init; }

    /// <summary>The video or image, or null.</summary>
    public string? Media => Video ?? Image;

    /// <summary>What to call it in an error.</summary>
    public string Where => $"{File}, line {Line}";
}
