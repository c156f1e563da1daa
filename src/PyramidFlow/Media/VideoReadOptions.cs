namespace PyramidFlow.Media;

/// <summary>Which frames of a video to read and how large.</summary>
public sealed record VideoReadOptions
{
    /// <summary>Width to resize to, or null for its own; frames are cut to the shape, centred.</summary>
    public int? Width { get; init; }

    /// <summary>Height to resize to; given together with <see cref="Width"/>.</summary>
    public int? Height { get; init; }

    /// <summary>Frames per second to resample to, above 0 and at most 240, or null for the frames as stored.</summary>
    public double? Fps { get; init; }

    /// <summary>Where to start.</summary>
    public TimeSpan Start { get; init; }

    /// <summary>How many frames to read at most, or null for all.</summary>
    public int? MaxFrames { get; init; }

    /// <summary>Frames per chunk, at least 1; the last chunk may be shorter. Default 8.</summary>
    public int FramesPerChunk { get; init; } = 8;

    /// <summary>Time on the processor that the decoder may take at most, or null for what the size of the file pays for.</summary>
    public TimeSpan? MostWork { get; init; }
}
