namespace PyramidFlow.Media;

/// <summary>How a video is encoded and what is noted in it.</summary>
public sealed record VideoWriterOptions
{
    /// <summary>Frames per second, above 0 and at most 240. Default 24, the rate of the released models.</summary>
    public double Fps { get; init; } = 24;

    /// <summary>H.264 constant rate factor, 0 (lossless) to 51 (worst). Default 17, visually lossless.</summary>
    public int Crf { get; init; } = 17;

    /// <summary>Title shown by players.</summary>
    public string? Title { get; init; }

    /// <summary>
    /// Text to store under any key, read back by <see cref="MediaMetadata.ReadAsync"/>; players show <c>comment</c>. Keys are
    /// letters, digits and underscores; empty values are left out.
    /// </summary>
    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();
}
