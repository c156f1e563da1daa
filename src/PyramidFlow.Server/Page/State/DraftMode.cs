namespace PyramidFlow.Server.Page.State;

/// <summary>What a new video begins with.</summary>
internal enum DraftMode
{
    /// <summary>Its prompt alone.</summary>
    Text,

    /// <summary>A picture.</summary>
    Image,

    /// <summary>A video that is gone on from.</summary>
    Extend,
}
