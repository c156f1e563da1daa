namespace PyramidFlow.Server.Domain;

/// <summary>What a video is made from beside its prompt.</summary>
public enum VideoInputKind
{
    /// <summary>A picture that becomes the first frame.</summary>
    Image,

    /// <summary>A video that is gone on from; it comes first in the new one.</summary>
    Video,
}

/// <summary>A picture or video that a new one begins with.</summary>
/// <param name="Kind">Picture or video.</param>
/// <param name="FromJob">
/// An earlier video to take it from: its last frame for <see cref="VideoInputKind.Image"/>, all of it for
/// <see cref="VideoInputKind.Video"/>. Null when it was uploaded.
/// </param>
public sealed record VideoInput(VideoInputKind Kind, string? FromJob = null)
{
    /// <summary>Number of frames of the video <see cref="FromJob"/> that comes first in the new one; 0 where it is not known before the new one is made.</summary>
    public int Frames { get; init; }

    /// <summary>A sentence for the user on what was uploaded, such as that it may be cut short; it becomes one of <see cref="VideoResult.Warnings"/>. Null is none.</summary>
    public string? Warning { get; init; }
}
