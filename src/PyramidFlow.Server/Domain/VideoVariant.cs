namespace PyramidFlow.Server.Domain;

/// <summary>What there is of a video.</summary>
public enum VideoVariant
{
    /// <summary>The video, mp4 (H.264).</summary>
    Video,

    /// <summary>A small picture of its middle, PNG.</summary>
    Thumbnail,

    /// <summary>Small pictures of up to 16 moments in rows of 4, PNG.</summary>
    Spritesheet,

    /// <summary>Its last frame in full size, PNG.</summary>
    LastFrame,

    /// <summary>The picture it begins with, PNG; only of videos made from one.</summary>
    Input,

    /// <summary>The latest preview of one that is being made, PNG.</summary>
    Preview,
}
